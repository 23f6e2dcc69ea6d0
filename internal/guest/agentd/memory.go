package agentd

import (
	"math"
	"runtime/debug"
	"sync"

	"clone/internal/agentproto"
)

// The runtime collects garbage every two minutes, needed or not, as long as a
// GC percentage is set. In an idle fork that would write to pages shared with the
// template, for nothing. So there is one only while requests are under way; it
// is small, because the pages of the heap are what a fork pays for: a collection
// starts at 1 MiB of heap instead of 4.
//
// Between requests a memory limit stands in for it: a host that only asks for
// the time, for weeks, leaves garbage too. It counts what the runtime has mapped,
// some 7 MiB at the start, touched or not. Setting either costs less than a
// microsecond.
const (
	gcIdle    = -1
	gcBusy    = 25
	limitIdle = 16 << 20
	limitBusy = math.MaxInt64
)

// collector turns collection on for the first request and off after the last.
type collector struct {
	mu   sync.Mutex
	busy int
}

// idle is the state before the first request.
func (c *collector) idle() {
	debug.SetGCPercent(gcIdle)
	debug.SetMemoryLimit(limitIdle)
}

func (c *collector) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy++; c.busy == 1 {
		debug.SetGCPercent(gcBusy)
		debug.SetMemoryLimit(limitBusy)
	}
}

func (c *collector) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy--; c.busy == 0 {
		c.idle()
	}
}

// memory is for the whole process, like the setting it changes.
var memory collector

// buffers are the buffers of streams, kept for the next command: a few, so that
// a burst of commands does not stay in memory.
var buffers = make(chan []byte, 4)

// streamBuffer is the room for data of one frame, in bytes: half of what a
// frame could hold, so that a command touches fewer pages.
const streamBuffer = 32 << 10

// bufferSize leaves room in front for the frame header.
const bufferSize = agentproto.HeaderSize + streamBuffer

func getBuffer() []byte {
	select {
	case b := <-buffers:
		return b
	default:
		return make([]byte, bufferSize)
	}
}

func putBuffer(b []byte) {
	select {
	case buffers <- b[:bufferSize]:
	default:
	}
}
