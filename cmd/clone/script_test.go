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
	testscript.Main(m, map[string]func(){
		"clone": main, "fakevm": fakeVM, "fakeforks": fakeForks, "supervised": supervised, "writetemplate": writeTemplate,
	})
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
			env.Setenv("CLONE_HOME", dir+"/home")
			env.Setenv("TERM", "vt100")
			env.Values["vms"] = map[string]*vm{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"vm": startVM, "killvm": killVM},
	})
}

// vm is a fake VM's process.
type vm struct {
	cmd  *exec.Cmd
	gone chan struct{} // closed when it has ended and was waited for
}

// kill ends the process and waits for it.
func (v *vm) kill() error {
	err := v.cmd.Process.Kill()
	<-v.gone
	return err
}

func startVM(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command("fakevm", args...)
	cmd.Env = append(os.Environ(), "CLONE_RUNTIME_DIR="+ts.Getenv("CLONE_RUNTIME_DIR"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	v := &vm{cmd: cmd, gone: make(chan struct{})}
	ts.Defer(func() { v.kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	go func() { // a VM that has ended must not stay as a zombie
		cmd.Wait()
		close(v.gone)
	}()
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
	ts.Value("vms").(map[string]*vm)[name] = v
}

func killVM(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Value("vms").(map[string]*vm)[args[0]].kill())
}
