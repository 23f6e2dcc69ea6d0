package main

import (
	"bufio"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A VM that ends in order closes its control socket before its process is gone. It is not killed for that.
func TestDestroyWaitsForAVMThatIsLeaving(t *testing.T) {
	for name, req := range map[string]destroyRequest{"asked": {timeout: 10 * time.Second}, "forced": {force: true}} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "clone") // short, for sockets
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			t.Setenv("CLONE_RUNTIME_DIR", dir)
			vm := exec.Command("fakevm", "web", "leaving", "agentless")
			out, err := vm.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := vm.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { vm.Process.Kill(); vm.Wait() }()
			if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
				t.Fatal(line, err)
			}
			registry, info, err := findVM("web")
			if err != nil {
				t.Fatal(err)
			}
			type result struct {
				note string
				err  error
			}
			destroyed := make(chan result, 1)
			go func() {
				note, err := destroyVM(t.Context(), registry, info, req)
				destroyed <- result{note, err}
			}()
			select {
			case r := <-destroyed:
				t.Fatalf("it was not waited for: %+v", r)
			case <-time.After(100 * time.Millisecond): // it is being waited for
			}
			vm.Process.Signal(unix.SIGTERM)
			if r := <-destroyed; r.note != "" || r.err != nil {
				t.Errorf("%+v", r)
			}
			end, ok := registry.EndOf(info.ID, 0)
			if !ok || end.Status != 0 || end.Reason != "the guest powered off" {
				t.Errorf("recorded: %v, %+v", ok, end)
			}
			if alive, _ := registry.Alive(info.ID); alive {
				t.Error("it is still there")
			}
		})
	}
}
