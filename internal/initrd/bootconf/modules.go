package bootconf

import (
	"errors"
	"strings"
)

// Module is one kernel module of the initrd.
type Module struct {
	File     string // name in ModuleDir, such as 003-virtio_blk.ko
	Optional bool   // a guest without it still works
}

// EncodeModules returns the text of the list file: one "need FILE" or
// "want FILE" a line, in the order of loading.
func EncodeModules(list []Module) string {
	var b strings.Builder
	for _, m := range list {
		if m.Optional {
			b.WriteString("want ")
		} else {
			b.WriteString("need ")
		}
		b.WriteString(m.File + "\n")
	}
	return b.String()
}

// ParseModules reads what EncodeModules wrote.
func ParseModules(text string) ([]Module, error) {
	if len(text) > MaxFileSize {
		return nil, errors.New("module list is too long")
	}
	var list []Module
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" {
			continue
		}
		word, file, _ := strings.Cut(line, " ")
		if (word != "need" && word != "want") || file == "" || file == "." || file == ".." || strings.ContainsAny(file, "/ \x00") {
			return nil, errors.New("module list has a line that is not \"need FILE\" or \"want FILE\": " + line)
		}
		list = append(list, Module{File: file, Optional: word == "want"})
	}
	return list, nil
}
