package initd

import (
	"slices"
	"strings"
)

// blockMounts returns the mount points of file systems on disks, the last
// mounted first, out of /proc/self/mountinfo (proc_pid_mountinfo(5)).
func blockMounts(text string) []string {
	var targets []string
	for line := range strings.SplitSeq(text, "\n") {
		// ID PARENT MAJ:MIN ROOT TARGET OPTIONS [FIELD...] - TYPE SOURCE OPTIONS
		before, after, ok := strings.Cut(line, " - ")
		front, back := strings.Fields(before), strings.Fields(after)
		if !ok || len(front) < 6 || len(back) < 2 {
			continue
		}
		if target := unescape(front[4]); strings.HasPrefix(back[1], "/dev/") && strings.HasPrefix(target, "/") {
			targets = append(targets, target)
		}
	}
	slices.Reverse(targets)
	return targets
}

// unescape undoes the kernel's \OOO for space, tab, newline and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1]) && s[i+1] <= '3' && isOctal(s[i+2]) && isOctal(s[i+3]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isOctal(b byte) bool { return b >= '0' && b <= '7' }
