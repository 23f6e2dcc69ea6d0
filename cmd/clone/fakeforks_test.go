package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"clone/internal/config"
	"clone/internal/session"
)

// fakeForks is a program that starts detached VMs: one, as --detach does, or as many as its first argument says, as --count
// does. They are processes that are ready at once and end at a SIGTERM. Those that are alive have a file in CLONE_HOME, whose
// name is the PID and the id. With a name as second argument, all but the first wait for somebody to open the pipe
// CLONE_HOME/gate.
func fakeForks() {
	if r := detachedReport(); r != nil {
		fakeFork(r)
	}
	cmd := &cobra.Command{}
	cmd.SetContext(context.Background())
	f := &vmFlags{}
	var err error
	if len(os.Args) == 1 {
		err = f.spawn(cmd)
	} else {
		m := many{parallel: 2}
		m.count, _ = strconv.Atoi(os.Args[1])
		if len(os.Args) > 2 {
			f.name = os.Args[2]
		}
		err = m.run(cmd, f, noSource{})
	}
	if message := messageOf(err); message != "" {
		fmt.Fprintln(os.Stderr, "clone: "+message)
	}
	os.Exit(statusOf(err))
}

func fakeFork(r *report) {
	home, id := os.Getenv("CLONE_HOME"), strconv.Itoa(os.Getpid())
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	alive := filepath.Join(home, id)
	if err := os.WriteFile(alive, nil, 0o600); err != nil {
		panic(err)
	}
	go func() {
		if name := os.Args[len(os.Args)-1]; strings.HasPrefix(name, "--name=") && !strings.HasSuffix(name, "-1") {
			gate, err := os.Open(filepath.Join(home, "gate"))
			if err != nil {
				panic(err)
			}
			gate.Close()
		}
		_ = r.ready(id, os.DevNull)
	}()
	<-asked
	os.Remove(alive)
	os.Exit(0)
}

// noSource is the source of VMs without disks.
type noSource struct{ session.Source }

func (noSource) Config() config.VM { return config.VM{} }
