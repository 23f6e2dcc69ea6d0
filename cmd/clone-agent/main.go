// Clone-agent is the agent inside a guest: it runs commands, copies files and
// keeps the machine's identity and clock right for the host. The initrd starts
// it; it needs nothing installed in the guest.
package main

import (
	"os"

	"clone/internal/guest/agentd"
)

func main() { os.Exit(agentd.Main()) }
