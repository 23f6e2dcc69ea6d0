package agent_test

import (
	"io"
	"testing"

	"clone/internal/agent"
)

// BenchmarkExec is one command after the other, from request to exit status.
func BenchmarkExec(b *testing.B) {
	c := connect(b)
	for b.Loop() {
		run(b, c, agent.Command{Args: []string{"/bin/true"}})
	}
}

// BenchmarkOutput is the rate at which one command's output passes.
func BenchmarkOutput(b *testing.B) {
	c := connect(b)
	const size = 64 << 20
	b.SetBytes(size)
	for b.Loop() {
		p, err := c.Exec(b.Context(), agent.Command{Args: []string{"head", "-c", "67108864", "/dev/zero"}, Stdout: io.Discard})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHello is the round trip of a request that the reader answers.
func BenchmarkHello(b *testing.B) {
	c := connect(b)
	for b.Loop() {
		if _, err := c.Hello(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
