package initrd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNoModules is wrapped by what FindModules returns when there is no module
// directory of the kernel anywhere.
var ErrNoModules = errors.New("the kernel's modules were not found")

// FindModules returns the directory with the modules of kernel version, the
// release that `uname -r` prints in the guest. It looks in each of extra (a
// module directory itself, or a directory with lib/modules in it), beside the
// kernel image and one directory above it, and in this host's own /lib and
// /usr/lib. The directory must have depmod's files.
func FindModules(kernelPath, version string, extra ...string) (dir string, err error) {
	if version == "" || version != filepath.Base(version) || version == ".." || version == "." {
		return "", fmt.Errorf("kernel version %q is not a version", version)
	}
	return findModules(candidates(kernelPath, version, extra, "/"), version)
}

// candidates lists the directories to look at, best first, without repeats.
func candidates(kernelPath, version string, extra []string, hostRoot string) []string {
	var list []string
	add := func(dir string) {
		if !slices.Contains(list, dir) {
			list = append(list, dir)
		}
	}
	below := func(base string) {
		add(filepath.Join(base, "lib/modules", version))
		add(filepath.Join(base, "usr/lib/modules", version))
	}
	for _, dir := range extra {
		if dir == "" {
			continue
		}
		add(filepath.Clean(dir))
		add(filepath.Join(dir, version))
		below(dir)
	}
	if kernelPath != "" {
		places := []string{kernelPath}
		if target, err := filepath.EvalSymlinks(kernelPath); err == nil {
			places = append(places, target) // /vmlinuz is often a link to boot/vmlinuz-V
		}
		for _, k := range places {
			if abs, err := filepath.Abs(k); err == nil {
				k = abs
			}
			below(filepath.Dir(k))
			below(filepath.Dir(filepath.Dir(k)))
		}
	}
	below(hostRoot)
	return list
}

func findModules(places []string, version string) (string, error) {
	var unindexed string
	for _, dir := range places {
		if !isDir(filepath.Join(dir, "kernel")) && !isFile(filepath.Join(dir, "modules.dep")) {
			continue
		}
		// A directory that the user named may be that of another kernel.
		if resolved, err := filepath.EvalSymlinks(dir); err != nil || (filepath.Base(dir) != version && filepath.Base(resolved) != version) {
			continue
		}
		if isFile(filepath.Join(dir, "modules.dep")) {
			return dir, nil
		}
		if unindexed == "" {
			unindexed = dir
		}
	}
	if unindexed != "" {
		base := strings.TrimSuffix(strings.TrimSuffix(unindexed, "lib/modules/"+version), "usr/")
		return "", fmt.Errorf("%s has modules but no modules.dep: run depmod -b %s %s", unindexed, base, version)
	}
	return "", fmt.Errorf("%w: version %s; looked in %s: install the kernel's package, or unpack it so that lib/modules/%s lies beside the kernel image, or name its directory with --modules",
		ErrNoModules, version, strings.Join(places, ", "), version)
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
