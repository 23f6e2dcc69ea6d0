package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A detached VM is this program again in a session of its own, with a pipe on which it says, in one line, that it is
// ready or why it is not.
const reportVariable = "CLONE_DETACHED"

const reportFD = 3

// report is the detached process's end of the pipe.
type report struct{ f *os.File }

// detachedReport returns the pipe if this process is the detached one.
func detachedReport() *report {
	if os.Getenv(reportVariable) == "" {
		return nil
	}
	os.Unsetenv(reportVariable)
	unix.CloseOnExec(reportFD)
	return &report{os.NewFile(reportFD, "report")}
}

func (r *report) say(line string) {
	if r.f == nil {
		return
	}
	fmt.Fprintln(r.f, line)
	r.f.Close()
	r.f = nil
	// From here on nobody reads our output.
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		unix.Dup2(int(null.Fd()), 1)
		unix.Dup2(int(null.Fd()), 2)
		null.Close()
	}
}

func (r *report) ready(id string) { r.say("ready " + id) }

func (r *report) failed(err error) {
	if message := messageOf(err); message != "" {
		r.say("failed " + message)
	}
}

// spawn starts the detached process, waits for its report, and prints the VM's id alone on standard output. Ctrl-C
// while waiting ends the VM.
func (f *vmFlags) spawn(cmd *cobra.Command) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ours, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ours.Close()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(interrupts)
	child := exec.Command(self, os.Args[1:]...)
	child.Env = append(os.Environ(), reportVariable+"=1")
	child.Stderr = os.Stderr
	child.ExtraFiles = []*os.File{theirs}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = child.Start()
	theirs.Close()
	if err != nil {
		return err
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(ours).ReadString('\n')
		line <- strings.TrimSpace(text)
	}()
	var text string
	select {
	case text = <-line:
	case <-interrupts:
		_ = child.Process.Signal(syscall.SIGTERM)
		_ = child.Wait()
		return failure(130, errors.New("interrupted"))
	}
	if id, ok := strings.CutPrefix(text, "ready "); ok {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), id)
		return errors.Join(err, child.Process.Release())
	}
	waitErr := child.Wait()
	status := statusFailure
	var exit *exec.ExitError
	if errors.As(waitErr, &exit) && exit.ExitCode() > 0 {
		status = exit.ExitCode()
	}
	if message, ok := strings.CutPrefix(text, "failed "); ok {
		return failure(status, errors.New(message))
	}
	if err := atLimit("", child.Process.Pid); err != nil {
		return err
	}
	return failure(status, errors.New("the VM ended before its guest was ready"))
}
