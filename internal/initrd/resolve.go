package initrd

import (
	"fmt"
	"slices"
)

// loadable is one module file, at its place in the order of loading.
type loadable struct {
	name     string
	file     string // relative to the module directory
	optional bool
}

// resolver orders modules so that each comes after what it needs.
type resolver struct {
	x     *index
	order []loadable
	at    map[string]int // name → place in order
	open  map[string]bool
}

// resolve returns the files to load for the given needs, in order. Drivers
// built into the kernel have none.
func resolve(x *index, list []need) ([]loadable, error) {
	r := &resolver{x: x, at: map[string]int{}, open: map[string]bool{}}
	for _, n := range list {
		name := canonical(n.module)
		if !x.has(name) {
			if n.optional {
				continue
			}
			return nil, fmt.Errorf("the kernel of %s has no %s, neither built in nor as a module: it must be built with %s=y or =m",
				x.dir, n.module, n.option)
		}
		if err := r.add(name, n.optional); err != nil && !n.optional {
			return nil, err
		}
	}
	return r.order, nil
}

func (x *index) has(name string) bool { return x.builtin[name] || x.files[name] != "" }

// add puts name behind everything it depends on. A module that both a
// required and an optional one need is required.
func (r *resolver) add(name string, optional bool) error {
	if r.x.builtin[name] || r.open[name] {
		return nil // built in; or a soft dependency that leads back here
	}
	if i, done := r.at[name]; done {
		if !optional && r.order[i].optional {
			r.order[i].optional = false
			return r.addDeps(name, false)
		}
		return nil
	}
	file := r.x.files[name]
	if file == "" {
		return fmt.Errorf("module %s is needed and not in %s: is its package complete?", name, r.x.dir)
	}
	r.open[name] = true
	defer delete(r.open, name)
	r.addSoft(r.x.softPre[name])
	if err := r.addDeps(name, optional); err != nil {
		return err
	}
	r.at[name] = len(r.order)
	r.order = append(r.order, loadable{name: name, file: file, optional: optional})
	r.addSoft(r.x.softPost[name])
	return nil
}

// addDeps adds what name cannot be loaded without. modules.dep lists the
// nearest first, so the farthest is taken first.
func (r *resolver) addDeps(name string, optional bool) error {
	for _, d := range slices.Backward(r.x.deps[name]) {
		if err := r.add(d, optional); err != nil {
			return err
		}
	}
	return nil
}

// addSoft adds what should be loaded along where the kernel has it, such as
// the crc32c implementations that ext4 and btrfs name by their alias.
func (r *resolver) addSoft(names []string) {
	for _, n := range names {
		targets := []string{n}
		if !r.x.has(n) {
			targets = r.x.aliases[n]
			if len(targets) == 0 {
				targets = r.x.aliases["crypto_"+n]
			}
		}
		for _, t := range targets {
			if r.x.has(t) {
				// Optional ones with a broken dependency are left out.
				_ = r.add(t, true)
			}
		}
	}
}
