package agentd

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"clone/internal/agentproto"

	"golang.org/x/sys/unix"
)

const (
	// runDir is the agent's own, on a file system that does not outlive the boot.
	runDir = "/run/clone"
	// clockTolerance is the error at which an identity leaves the clock alone:
	// its time was taken when it was sent, so below this the guest's may be the
	// better one. The host's SetClock does the rest.
	clockTolerance = 2 * time.Millisecond
	// pairGoal is how close two clocks are to be read, if it comes about within
	// pairTries.
	pairGoal  = 100 * time.Microsecond
	pairTries = 16
	// cidPatience is how long the transport may take to learn its new CID.
	cidPatience = 200 * time.Millisecond
	cidInterval = 2 * time.Millisecond
)

// apply makes the machine the one that the identity describes. Entropy goes
// first, because what follows may use random numbers, and the clock second,
// because what follows writes files. Every item is tried, so that the reply
// shows all that is wrong.
func (s *Server) apply(id agentproto.Identity) agentproto.Message {
	if err := id.Validate(); err != nil {
		return agentproto.NewError(failed(err.Error(), unix.EINVAL))
	}
	s.identity.Lock()
	defer s.identity.Unlock()
	a := applier{s.System}
	var ack agentproto.Ack
	for item, do := range [...]func(agentproto.Identity) (agentproto.Outcome, string, error){
		agentproto.ItemEntropy:   a.entropy,
		agentproto.ItemClock:     a.clock,
		agentproto.ItemHostname:  a.hostname,
		agentproto.ItemMachineID: a.machineID,
		agentproto.ItemUUID:      a.uuid,
		agentproto.ItemCID:       a.cid,
	} {
		outcome, detail, err := do(id)
		if err != nil {
			outcome, detail = agentproto.Failed, err.Error()
		}
		ack.Items = append(ack.Items, agentproto.ItemResult{
			Item: agentproto.Item(item), Outcome: outcome, Detail: detail,
		})
	}
	return ack
}

// applier has a method for each item: what became of it, a word about that for
// people, and an error if the machine is not right now.
type applier struct{ sys System }

func (a applier) entropy(id agentproto.Identity) (agentproto.Outcome, string, error) {
	return agentproto.Done, "", a.sys.AddEntropy(id.Entropy[:])
}

func (a applier) clock(id agentproto.Identity) (agentproto.Outcome, string, error) {
	offset := a.behind(id)
	if offset > -int64(clockTolerance) && offset < int64(clockTolerance) {
		return agentproto.Kept, "already right", nil
	}
	return agentproto.Done, "stepped by " + time.Duration(offset).String(), a.sys.StepRealtime(offset)
}

// behind is what the guest's clock lacks, in nanoseconds. Between two readings
// the host may put this vCPU aside, or a page may have to come first: the clocks
// are read until both are close, and the closest pair counts.
func (a applier) behind(id agentproto.Identity) (offset int64) {
	if id.Raw == 0 || a.sys.Raw() == 0 {
		return id.WallClock - a.sys.Realtime()
	}
	for try, best := 0, int64(math.MaxInt64); try < pairTries && best > int64(pairGoal); try++ {
		before := a.sys.Raw()
		now := a.sys.Realtime()
		if took := a.sys.Raw() - before; took < best {
			sent := before + took/2 - id.Raw // how long ago it was
			best, offset = took, id.WallClock+sent-now
		}
	}
	return offset
}

// hostname sets the kernel's, and in a fork the file from which the next boot
// takes it. Where that file cannot be written the next boot starts from the
// image's again, which is what such an image is for.
func (a applier) hostname(id agentproto.Identity) (agentproto.Outcome, string, error) {
	path := a.sys.Path("/etc/hostname")
	if err := a.sys.SetHostname(id.Hostname); err != nil {
		return 0, "", err
	}
	if !id.Fork {
		copyUp(path)
		return agentproto.Done, "", nil
	}
	if err := overwrite(path, id.Hostname+"\n"); err != nil {
		return agentproto.Done, "/etc/hostname not changed: " + err.Error(), nil
	}
	return agentproto.Done, "", nil
}

// uuid writes the VM's id where programs in the guest can read it.
func (a applier) uuid(id agentproto.Identity) (agentproto.Outcome, string, error) {
	h := hexString(id.UUID[:])
	text := h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:] + "\n"
	return agentproto.Done, "", a.writeRun("vm-id", text)
}

// cid checks that the transport uses the new context id. The driver rereads it
// when the reset event arrives (virtio 1.2 §5.10.6.7), which may be a moment ago.
func (a applier) cid(id agentproto.Identity) (agentproto.Outcome, string, error) {
	if id.CID == 0 {
		return agentproto.Skipped, "not asked for", nil
	}
	for waited := time.Duration(0); ; waited += cidInterval {
		cid, err := a.sys.LocalCID()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return agentproto.Skipped, "this machine has no vsock device", nil
		case err != nil:
			return 0, "", err
		case cid == id.CID:
			return agentproto.Done, "", nil
		case waited >= cidPatience:
			return 0, "", errors.New("the guest has CID " + strconv.Itoa(int(cid)) + ", not " + strconv.Itoa(int(id.CID)))
		}
		time.Sleep(cidInterval)
	}
}

// writeRun writes a file of runDir.
func (a applier) writeRun(name, text string) error {
	dir := a.sys.Path(runDir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return overwrite(filepath.Join(dir, name), text)
}

// copyUp has an overlay make its copy of a file that forks will write: once in
// their template, and not in each of them. It changes nothing, and a file that
// cannot be written is none to be copied.
func copyUp(path string) {
	if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
		f.Close()
	}
}

// overwrite writes a small file in place: it may be the target of a mount,
// which a rename cannot replace. It is never shorter than the new text.
func overwrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}
