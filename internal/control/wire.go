package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"
)

// readBody reads a request's body, within its bounds.
func readBody(w http.ResponseWriter, req *http.Request) ([]byte, error) {
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	// The answer may take longer. The server goes on reading meanwhile, to see the client hang up: that has no deadline.
	_ = conn.SetReadDeadline(time.Time{})
	var tooBig *http.MaxBytesError
	if err != nil && !errors.As(err, &tooBig) {
		err = fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return body, err
}

// decode reads one JSON object with known fields only, or nothing at all, which is the zero request.
func decode(body []byte, v any) error {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if d.InputOffset() != int64(len(body)) {
		return fmt.Errorf("%w: something follows the JSON object", ErrInvalid)
	}
	return nil
}

func statusOf(err error) int {
	var tooBig *http.MaxBytesError
	switch {
	case errors.As(err, &tooBig):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, ErrConflict), errors.Is(err, fs.ErrExist):
		return http.StatusConflict
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, &Error{Message: message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone does not read it
}
