package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// watchEvery is the interval where --watch has none, and leastWatch the shortest: measuring takes time of the VMs too.
const (
	watchEvery = 2 * time.Second
	leastWatch = 100 * time.Millisecond
)

// watch prints again and again, until it is interrupted: in place on a terminal, one after the other elsewhere.
func watch(cmd *cobra.Command, every time.Duration, print func(context.Context, io.Writer) error) error {
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	out := cmd.OutOrStdout()
	f, ok := out.(interface{ Fd() uintptr })
	inPlace := ok && term.IsTerminal(int(f.Fd()))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for first := true; ; first = false {
		var text bytes.Buffer
		err := print(ctx, &text)
		if ctx.Err() != nil {
			return nil
		}
		if _, writeErr := io.WriteString(out, frame(text.String(), inPlace, first)); writeErr != nil {
			return writeErr
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// frame is what one printing looks like. In place, each line overwrites the one before it, without a flicker in between.
func frame(text string, inPlace, first bool) string {
	switch {
	case inPlace && first:
		return "\x1b[2J\x1b[H" + text
	case inPlace:
		return "\x1b[H" + strings.ReplaceAll(text, "\n", "\x1b[K\n") + "\x1b[J"
	case first || strings.HasPrefix(text, "{"):
		return text
	}
	return "\n" + text
}
