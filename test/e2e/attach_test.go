package e2e

import "testing"

const detachKey = "\x11" // Ctrl-Q

func TestAttach(t *testing.T) {
	h, vm := standingVM(t)
	one, _ := h.talkOnTerminal(t, "attach", vm)
	one.expect(t, "Ctrl-Q detaches")
	one.expect(t, "login: ") // what was printed before is shown too
	two, _ := h.talkOnTerminal(t, "attach")
	two.expect(t, "login: ")

	// The image logs root in. Both see what one types, and what the guest answers.
	one.enter(t, "echo from-one $((6*7))\n")
	one.expect(t, "from-one 42")
	two.expect(t, "from-one 42")
	two.enter(t, "echo from-two $((6*8))\n")
	one.expect(t, "from-two 48")

	one.enter(t, detachKey)
	one.ended(t, 0)
	h.exec(t, vm, "true")
	h.sh(t, vm, "echo still here > /dev/ttyS0")
	two.expect(t, "still here")
	two.enter(t, detachKey)
	two.expect(t, "goes on")
	two.ended(t, 0)
}
