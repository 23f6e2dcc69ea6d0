package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// index is what depmod(8) wrote about one kernel's modules. Names are module
// names: file names without their suffix, dashes as underscores.
type index struct {
	dir      string
	files    map[string]string   // name → file, relative to dir
	deps     map[string][]string // name → names it needs
	builtin  map[string]bool
	softPre  map[string][]string // name → names or aliases to load before it, if there are any
	softPost map[string][]string
	aliases  map[string][]string // alias → names; aliases without wildcards only
}

// maxIndexBytes bounds each of depmod's files; a full distribution kernel's
// largest is about 2 MB.
const maxIndexBytes = 64 << 20

// readIndex reads depmod's files in dir. Only modules.dep must be there.
func readIndex(dir string) (*index, error) {
	x := &index{
		dir: dir, files: map[string]string{}, deps: map[string][]string{}, builtin: map[string]bool{},
		softPre: map[string][]string{}, softPost: map[string][]string{}, aliases: map[string][]string{},
	}
	for _, f := range []struct {
		name     string
		required bool
		parse    func(string) error
	}{
		{"modules.dep", true, x.parseDep},
		{"modules.builtin", false, x.parseBuiltin},
		{"modules.builtin.modinfo", false, x.parseBuiltinModinfo},
		{"modules.softdep", false, x.parseSoftdep},
		{"modules.alias", false, x.parseAlias},
	} {
		text, err := readBounded(filepath.Join(dir, f.name), maxIndexBytes)
		if errors.Is(err, fs.ErrNotExist) && !f.required {
			continue
		}
		if err == nil {
			err = f.parse(string(text))
		}
		if err != nil {
			return nil, fmt.Errorf("read the module index %s: %w", f.name, err)
		}
	}
	return x, nil
}

func readBounded(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", name, limit)
	}
	return os.ReadFile(name)
}

// moduleName turns kernel/drivers/char/hw_random/virtio-rng.ko.xz into
// virtio_rng. It returns "" for what is no module file.
func moduleName(file string) string {
	name, _, ok := strings.Cut(path.Base(file), ".ko")
	if !ok {
		return ""
	}
	return canonical(name)
}

func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }

// parseDep reads lines "FILE: FILE FILE".
func (x *index) parseDep(text string) error {
	for line := range strings.SplitSeq(text, "\n") {
		file, needs, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		name := moduleName(file)
		if name == "" || !filepath.IsLocal(file) {
			return fmt.Errorf("%q is not a module file inside the directory", file)
		}
		x.files[name] = file
		for _, f := range strings.Fields(needs) {
			x.deps[name] = append(x.deps[name], moduleName(f))
		}
	}
	return nil
}

// parseBuiltin reads one FILE a line.
func (x *index) parseBuiltin(text string) error {
	for _, file := range strings.Fields(text) {
		x.builtin[moduleName(file)] = true
	}
	return nil
}

// parseBuiltinModinfo reads NUL-terminated "NAME.alias=ALIAS" entries.
func (x *index) parseBuiltinModinfo(text string) error {
	for entry := range strings.SplitSeq(text, "\x00") {
		key, value, _ := strings.Cut(entry, "=")
		if name, ok := strings.CutSuffix(key, ".alias"); ok {
			x.addAlias(value, name)
		}
	}
	return nil
}

// parseSoftdep reads lines "softdep NAME pre: A B post: C". Words before any
// pre: or post: are ignored, as libkmod does.
func (x *index) parseSoftdep(text string) error {
	for line := range strings.SplitSeq(text, "\n") {
		words := bytes.Fields([]byte(line))
		if len(words) < 3 || string(words[0]) != "softdep" {
			continue
		}
		name := canonical(string(words[1]))
		var to map[string][]string
		for _, w := range words[2:] {
			switch string(w) {
			case "pre:":
				to = x.softPre
			case "post:":
				to = x.softPost
			default:
				if to != nil {
					to[name] = append(to[name], canonical(string(w)))
				}
			}
		}
	}
	return nil
}

// parseAlias reads lines "alias ALIAS NAME".
func (x *index) parseAlias(text string) error {
	for line := range strings.SplitSeq(text, "\n") {
		if words := strings.Fields(line); len(words) == 3 && words[0] == "alias" {
			x.addAlias(words[1], words[2])
		}
	}
	return nil
}

func (x *index) addAlias(alias, name string) {
	if strings.ContainsAny(alias, "*?[") {
		return // device patterns: nothing here is looked up by them
	}
	alias = canonical(alias)
	x.aliases[alias] = append(x.aliases[alias], canonical(name))
}
