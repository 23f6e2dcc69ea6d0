package agentd

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

// insideEnv makes this test binary run insideNamespaces: effects on mounts and
// the hostname stay in namespaces of their own.
const insideEnv = "AGENTD_TEST_INSIDE"

func TestInNamespaces(t *testing.T) {
	before, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), insideEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if after, _ := os.Hostname(); after != before {
		t.Fatalf("the hostname of this machine became %q", after)
	}
}

// namespaced is the real machine for what namespaces contain.
type namespaced struct {
	*recorder
	Linux
}

func (n namespaced) SetHostname(name string) error              { return n.Linux.SetHostname(name) }
func (n namespaced) BindMount(src, target string) error         { return n.Linux.BindMount(src, target) }
func (n namespaced) Path(name string) string                    { return n.recorder.Path(name) }
func (n namespaced) Realtime() int64                            { return n.recorder.Realtime() }
func (n namespaced) Raw() int64                                 { return n.recorder.Raw() }
func (n namespaced) MapRegisters(gpa uint64) (Registers, error) { return n.recorder.MapRegisters(gpa) }
func (n namespaced) StepRealtime(ns int64) error                { return n.recorder.StepRealtime(ns) }
func (n namespaced) AddEntropy(seed []byte) error               { return n.recorder.AddEntropy(seed) }
func (n namespaced) LocalCID() (uint32, error)                  { return n.recorder.LocalCID() }
func (n namespaced) Sync() error                                { return n.recorder.Sync() }
func (n namespaced) Bind(a, b string) error                     { return n.recorder.Bind(a, b) }
func (n namespaced) Stats() (agentproto.StatsReply, error) {
	return n.recorder.Stats()
}
func (n namespaced) Shutdown(m agentproto.ShutdownMode, force bool) error {
	return n.recorder.Shutdown(m, force)
}

// insideNamespaces applies an identity where /etc is read-only.
func insideNamespaces() int {
	if err := readOnlyMachine(os.Getenv(insideEnv)); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return 0
}

func readOnlyMachine(root string) error {
	etc := filepath.Join(root, "etc")
	old := strings.Repeat("a", 32) + "\n"
	steps := []error{
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		os.MkdirAll(etc, 0o755),
		os.WriteFile(filepath.Join(etc, "machine-id"), []byte(old), 0o444),
		os.WriteFile(filepath.Join(etc, "hostname"), []byte("image\n"), 0o444),
		unix.Mount(etc, etc, "", unix.MS_BIND, ""),
		unix.Mount("", etc, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""),
	}
	if err := errors.Join(steps...); err != nil {
		return err
	}
	sys := namespaced{recorder: &recorder{root: root}}
	// Twice, as in a fork of a fork.
	for _, last := range []byte{1, 2} {
		id := newIdentity()
		id.MachineID[15] = last
		id.Hostname = "fork-" + string('0'+rune(last))
		ack, ok := (&Server{System: sys}).apply(id).(agentproto.Ack)
		if !ok {
			return errors.New("identity refused")
		}
		if err := ack.Err(); err != nil {
			return err
		}
		if d := ack.Items[agentproto.ItemHostname].Detail; !strings.Contains(d, "read-only") {
			return errors.New("hostname: " + d)
		}
		text, err := os.ReadFile(filepath.Join(etc, "machine-id"))
		if err != nil {
			return err
		}
		if want := newID[:31] + string('0'+rune(last)) + "\n"; string(text) != want {
			return errors.New("machine-id is " + string(text))
		}
		if name, err := os.Hostname(); err != nil || name != id.Hostname {
			return errors.New("hostname is " + name)
		}
	}
	return nil
}
