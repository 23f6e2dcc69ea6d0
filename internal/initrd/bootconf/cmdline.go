package bootconf

import "strings"

// Cmdline is the kernel command line, as far as PID 1 is concerned.
type Cmdline struct {
	params []param
}

type param struct{ key, value string }

// MaxCmdline is more than any kernel's COMMAND_LINE_SIZE.
const MaxCmdline = 64 << 10

// ParseCmdline splits text as the kernel does (lib/cmdline.c, next_arg): at
// spaces outside double quotes, with quotes removed around a value or a whole
// parameter. What follows "--" belongs to init and is left out.
func ParseCmdline(text string) Cmdline {
	var c Cmdline
	text = text[:min(len(text), MaxCmdline)]
	for text != "" {
		var word string
		if word, text = nextWord(text); word == "" {
			continue
		}
		if word == "--" {
			break
		}
		if word[0] == '"' {
			word = strings.TrimSuffix(word[1:], "\"")
		}
		key, value, _ := strings.Cut(word, "=")
		if strings.HasPrefix(value, "\"") {
			value = strings.TrimSuffix(value[1:], "\"")
		}
		c.params = append(c.params, param{key, value})
	}
	return c
}

func nextWord(text string) (word, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '"':
			quoted = !quoted
		case !quoted && (b == ' ' || b == '\t' || b == '\n' || b == '\v' || b == '\f' || b == '\r'):
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// Value returns the last value of key, and whether it is there at all.
func (c Cmdline) Value(key string) (value string, ok bool) {
	for _, p := range c.params {
		if p.key == key {
			value, ok = p.value, true
		}
	}
	return value, ok
}

// Override changes cfg as the command line says: clone.KEY=VALUE sets KEY, and
// init= is the kernel's own name for clone.init=. Other clone.* options are
// not ours.
func (c Cmdline) Override(cfg *Config) {
	for _, p := range c.params {
		if p.key == "init" {
			cfg.Init = p.value
		} else if key, ok := strings.CutPrefix(p.key, "clone."); ok {
			cfg.Set(key, p.value)
		}
	}
}
