package main

import "strings"

// telling are the beginnings, after the kernel's time stamp, of lines that say why a guest ended.
var telling = []string{"clone-init: ", "Kernel panic"}

// maxWords is how many bytes of a console's line fit into a message.
const maxWords = 300

// lastWords finds the line of a console's output that best says why the guest ended: one of the telling ones, else the
// last. The guest wrote it, so what is not printable ASCII is left out.
func lastWords(output string) string {
	var last string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(strings.Map(printable, line))
		for _, t := range telling {
			if at := strings.Index(line, t); at >= 0 {
				return line[at:min(len(line), at+maxWords)]
			}
		}
		if line != "" {
			last = line
		}
	}
	return last[:min(len(last), maxWords)]
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return -1
	}
	return r
}
