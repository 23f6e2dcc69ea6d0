package console

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Log writes a stream into the file path until the stream ends or is closed. The guest decides how much it prints, so the
// file is bounded: at limit bytes it becomes path+".old", in place of an older one, and a new one begins. A file that
// cannot be written ends the log, and nothing else.
func Log(stream io.Reader, path string, limit int64) (err error) {
	f, err := createLog(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := make([]byte, 16<<10)
	var size int64
	for {
		n, readErr := stream.Read(buf[:min(int64(len(buf)), limit-size)])
		if _, err := f.Write(buf[:n]); err != nil {
			return fmt.Errorf("console log: %w", err)
		}
		if size += int64(n); size >= limit {
			if err := os.Rename(path, path+".old"); err != nil {
				return fmt.Errorf("console log: %w", err)
			}
			next, err := createLog(path)
			if err != nil {
				return err
			}
			f.Close()
			f, size = next, 0
		}
		switch readErr {
		case nil:
		case io.EOF, io.ErrClosedPipe:
			return nil
		default:
			return fmt.Errorf("console log: %w", readErr)
		}
	}
}

func createLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("console log: %w", err)
	}
	return f, nil
}
