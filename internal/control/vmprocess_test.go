package control

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMain makes the test binary, when asked to, a process that is a VM as far as the registry knows.
func TestMain(m *testing.M) {
	if base := os.Getenv("CONTROL_TEST_VM"); base != "" {
		os.Exit(beVM(base, os.Getenv("CONTROL_TEST_NAME")))
	}
	if os.Getenv(memoryChildVariable) != "" {
		memoryChild()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// beVM creates a VM, prints its id or why not, and lives until its standard input ends.
func beVM(base, name string) int {
	r, err := OpenAt(base)
	if err == nil {
		var d *Dir
		if d, err = r.Create(Info{Name: name}); err == nil {
			fmt.Println(d.Info().ID)
			_, _ = bufio.NewReader(os.Stdin).ReadByte()
			if err := d.Close(); err != nil {
				return 1
			}
			return 0
		}
	}
	fmt.Println("error:", err)
	return 1
}

type process struct {
	cmd *exec.Cmd
	id  string // what it printed: an id, or "error: …"
}

func spawnVM(t *testing.T, r *Registry, name string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CONTROL_TEST_VM="+r.Path(), "CONTROL_TEST_NAME="+name)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdin.Close(); cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return &process{cmd, strings.TrimSpace(line)}
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.cmd.Wait()
}
