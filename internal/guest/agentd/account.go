package agentd

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// account is who a command runs as.
type account struct {
	name        string
	uid, gid    uint32
	groups      []uint32 // supplementary
	home, shell string
}

var root = account{name: "root", home: "/root", shell: "/bin/sh"}

// credential is nil for the user that the agent is already.
func (a account) credential() *syscall.Credential {
	if a.uid == 0 && a.gid == 0 && len(a.groups) == 0 {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid, Groups: a.groups}
}

// lookupAccount finds the user spec: name, uid, name:group or uid:gid.
func lookupAccount(sys System, spec string) (account, error) {
	if spec == "" {
		return root, nil
	}
	// A machine without these files still has numbers.
	passwd, _ := os.ReadFile(sys.Path("/etc/passwd"))
	group, _ := os.ReadFile(sys.Path("/etc/group"))
	return findAccount(spec, string(passwd), string(group))
}

// findAccount looks spec up in the contents of passwd(5) and group(5).
func findAccount(spec, passwd, group string) (account, error) {
	user, wantGroup, hasGroup := strings.Cut(spec, ":")
	uid, numeric := id(user)
	// A number that nobody has is a user all the same, with a group of its own
	// number: never root's.
	a := account{name: user, uid: uid, gid: uid, home: "/", shell: "/bin/sh"}
	found := false
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 7 {
			continue
		}
		u, ok1 := id(f[2])
		g, ok2 := id(f[3])
		if !ok1 || !ok2 || (f[0] != user && !(numeric && u == uid)) {
			continue
		}
		found = true
		a = account{name: f[0], uid: u, gid: g, home: f[5], shell: f[6]}
		if a.shell == "" {
			a.shell = "/bin/sh"
		}
		break
	}
	if !found && !numeric {
		return account{}, failed("no user "+user+" in the guest", unix.EINVAL)
	}
	if !hasGroup {
		a.groups = memberships(a.name, group)
		return a, nil
	}
	gid, ok := findGroup(wantGroup, group)
	if !ok {
		return account{}, failed("no group "+wantGroup+" in the guest", unix.EINVAL)
	}
	a.gid = gid
	return a, nil
}

// memberships are the groups that list name as a member.
func memberships(name, group string) []uint32 {
	var gids []uint32
	for line := range strings.Lines(group) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 4 {
			continue
		}
		for member := range strings.SplitSeq(f[3], ",") {
			if gid, ok := id(f[2]); ok && member == name {
				gids = append(gids, gid)
			}
		}
	}
	return gids
}

func findGroup(want, group string) (uint32, bool) {
	for line := range strings.Lines(group) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) >= 3 && f[0] == want {
			return id(f[2])
		}
	}
	return id(want)
}

// id parses a user or group number; the last one means "no change" to the kernel.
func id(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1
}
