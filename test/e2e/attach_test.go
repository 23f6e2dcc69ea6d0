package e2e

import "testing"

const detachKey = "\x11" // Ctrl-Q

func TestAttach(t *testing.T) {
	h, vm := standingVM(t)
	one, tty := h.talkOnTerminal(t, "attach", vm)
	defer tty.Close()
	one.expect(t, "Ctrl-Q detaches")
	one.expect(t, "login: ") // what was printed before is shown too
	two, tty := h.talkOnTerminal(t, "attach")
	defer tty.Close()
	two.expect(t, "login: ")

	// The guest repeats what one types, and both see it.
	one.enter(t, "nobody-knows\n")
	one.expect(t, "nobody-knows")
	two.expect(t, "nobody-knows")
	one.expect(t, "Password: ")
	two.enter(t, "\n")
	one.expect(t, "Login incorrect")

	one.enter(t, detachKey)
	one.ended(t, 0)
	h.exec(t, vm, "true")
	h.sh(t, vm, "echo still here > /dev/ttyS0")
	two.expect(t, "still here")
	two.enter(t, detachKey)
	two.expect(t, "goes on")
	two.ended(t, 0)
}
