package agentd

import (
	"os"
	"strings"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookPath finds the program called name. A name with a slash is a path; execve
// tells whether it is any good.
func lookPath(name, path, dir string) (string, error) {
	if strings.IndexByte(name, '/') >= 0 {
		return name, nil
	}
	seen := false
	for len(path) > 0 {
		var d string
		d, path, _ = strings.Cut(path, ":")
		if d == "" || d[0] != '/' { // relative to where the command will run
			d = dir + "/" + d
		}
		file := d + "/" + name
		st, err := os.Stat(file)
		if err != nil || st.IsDir() {
			continue
		}
		if st.Mode()&0o111 != 0 {
			return file, nil
		}
		seen = true
	}
	if seen {
		return "", &notRun{statusNotRunnable, name, unix.EACCES}
	}
	return "", &notRun{statusNotFound, name + ": command not found", nil}
}

// variables is an environment: at most one entry for each key.
type variables struct{ list []string }

func (v *variables) set(kv string) {
	key := kv[:strings.IndexByte(kv, '=')+1]
	for i, old := range v.list {
		if strings.HasPrefix(old, key) {
			v.list[i] = kv
			return
		}
	}
	v.list = append(v.list, kv)
}

func (v *variables) get(key string) string {
	for _, kv := range v.list {
		if k, value, _ := strings.Cut(kv, "="); k == key {
			return value
		}
	}
	return ""
}

// environment is what a login would set, then what was asked for.
func environment(who account, spec agentproto.Exec) variables {
	v := variables{list: []string{
		"PATH=" + defaultPath,
		"HOME=" + who.home,
		"USER=" + who.name,
		"LOGNAME=" + who.name,
		"SHELL=" + who.shell,
	}}
	if spec.TTY {
		v.list = append(v.list, "TERM=xterm")
	}
	for _, kv := range spec.Env {
		v.set(kv)
	}
	return v
}
