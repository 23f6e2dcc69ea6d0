package control

import (
	"fmt"
	"strconv"
	"strings"
)

// addressRange is part of a process's address space, [start, end).
type addressRange struct{ start, end uint64 }

// parseRange reads "7f0000000000-7f0010000000".
func parseRange(text string) (r addressRange, err error) {
	from, to, ok := strings.Cut(text, "-")
	if ok {
		if r.start, err = strconv.ParseUint(from, 16, 64); err == nil {
			r.end, err = strconv.ParseUint(to, 16, 64)
		}
	}
	if !ok || err != nil || r.end < r.start {
		return addressRange{}, fmt.Errorf("address range %q", text)
	}
	return r, nil
}

// parseRanges reads several, with space between them.
func parseRanges(text string) (list []addressRange, err error) {
	for word := range strings.FieldsSeq(text) {
		r, err := parseRange(word)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func (r addressRange) overlaps(list []addressRange) bool {
	for _, o := range list {
		if r.start < o.end && o.start < r.end {
			return true
		}
	}
	return false
}

// mapping is what smaps says of one mapping, in bytes.
type mapping struct {
	size, resident, proportional, anonymous, merged, swapped uint64
}

func (m *mapping) add(to *Pages) {
	private := m.anonymous - min(m.anonymous, m.merged)
	to.Mapped += m.size
	to.Resident += m.resident
	to.Private += private
	to.Shared += m.resident - min(m.resident, private)
	to.Proportional += m.proportional
	to.Merged += m.merged
	to.Swapped += m.swapped
}

// parseSmaps reads /proc/PID/smaps (proc(5)), mapping by mapping: one that overlaps with ram is guest RAM. A page is private
// where it is anonymous: Private_Dirty would count pages of a template on a tmpfs, which are always dirty, as the
// private ones of a fork that is the only one to have them mapped.
func parseSmaps(text string, ram []addressRange) (Memory, error) {
	var m Memory
	var now mapping
	part := &m.Monitor
	fields := map[string]*uint64{
		"Size": &now.size, "Rss": &now.resident, "Pss": &now.proportional, "Anonymous": &now.anonymous, "KSM": &now.merged,
		"Swap": &now.swapped,
	}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, ":")
		// "7f00-7f10 rw-p 00000000 00:00 0 [heap]" begins a mapping. It has a colon too, but a space before it.
		if !ok || strings.ContainsRune(key, ' ') {
			first, _, _ := strings.Cut(line, " ")
			r, err := parseRange(first)
			if err != nil {
				return Memory{}, err
			}
			now.add(part)
			now, part = mapping{}, &m.Monitor
			if r.overlaps(ram) {
				part = &m.Guest
			}
			continue
		}
		to := fields[key]
		if to == nil {
			continue
		}
		n, err := kibibytes(key, value)
		if err != nil {
			return Memory{}, err
		}
		*to = n
	}
	now.add(part)
	return m, nil
}
