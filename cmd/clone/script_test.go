package main

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"clone": main, "fakevm": fakeVM})
}

// TestScripts runs testdata/*.txtar: command lines against processes that are VMs as far as the commands can see. Besides
// testscript's own commands there is
//
//	vm NAME [FAULT...]   starts one (fakevm_test.go; NAME "-" is none), and sets $NAME_ID and $NAME_PID
//	killvm NAME          kills it, as a crash would
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			// Sockets' paths are short, the scripts' directory is not.
			dir, err := os.MkdirTemp("", "clone")
			if err != nil {
				return err
			}
			env.Defer(func() { os.RemoveAll(dir) })
			env.Setenv("CLONE_RUNTIME_DIR", dir)
			env.Setenv("TERM", "vt100")
			env.Values["vms"] = map[string]*exec.Cmd{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"vm": startVM, "killvm": killVM},
	})
}

func startVM(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command("fakevm", args...)
	cmd.Env = append(os.Environ(), "CLONE_RUNTIME_DIR="+ts.Getenv("CLONE_RUNTIME_DIR"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "error:") {
		ts.Fatalf("%s", line)
	}
	name := args[0]
	if name == "-" {
		name = "VM"
	}
	ts.Setenv(name+"_ID", line)
	ts.Setenv(name+"_PID", strconv.Itoa(cmd.Process.Pid))
	ts.Value("vms").(map[string]*exec.Cmd)[name] = cmd
	go cmd.Wait() // a VM that has ended must not stay as a zombie
}

func killVM(ts *testscript.TestScript, neg bool, args []string) {
	cmd := ts.Value("vms").(map[string]*exec.Cmd)[args[0]]
	ts.Check(cmd.Process.Kill())
	cmd.Wait()
}
