package testhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// KernelVersions are the kernels that FetchKernel knows, as Debian 12 has them.
var KernelVersions = []string{"6.1", "6.12"}

// FetchKernel returns the directory of Debian's newest cloud kernel of a version
// of KernelVersions, after fetching it through apt where the cache has none. It
// holds vmlinuz, and lib/modules for modprobe -d. Nothing is installed. Several
// processes may call it at once. log is told what is being done.
func FetchKernel(ctx context.Context, cacheDir, version string, log io.Writer) (string, error) {
	name, err := kernelPackagePattern(version)
	if err != nil {
		return "", err
	}
	parent := filepath.Join(cacheDir, "kernels")
	dir := filepath.Join(parent, version)
	if exists(filepath.Join(dir, "vmlinuz")) {
		return dir, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	held, err := lock(ctx, parent)
	if err != nil {
		return "", err
	}
	defer held.Close()
	if exists(filepath.Join(dir, "vmlinuz")) {
		return dir, nil // somebody else was faster
	}
	fmt.Fprintf(log, "fetching Debian's %s cloud kernel\n", version)
	if err := fetchKernel(ctx, name, dir); err != nil {
		return "", fmt.Errorf("fetch Debian's %s cloud kernel: %w", version, err)
	}
	return dir, nil
}

// kernelPackagePattern matches the names of a version's kernel packages in apt.
func kernelPackagePattern(version string) (*regexp.Regexp, error) {
	for _, v := range KernelVersions {
		if v == version {
			return regexp.MustCompile(`^linux-image-` + regexp.QuoteMeta(v) + `\.[0-9][^ ]*-cloud-amd64(-unsigned)?$`), nil
		}
	}
	return nil, fmt.Errorf("no kernel %q: choose one of %q", version, KernelVersions)
}

// fetchKernel fills dir, which appears complete or not at all.
func fetchKernel(ctx context.Context, name *regexp.Regexp, dir string) error {
	aside, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(aside)
	if err := os.Chmod(aside, 0o755); err != nil {
		return err
	}
	deb, err := downloadPackage(ctx, name, aside)
	if err != nil {
		return err
	}
	unpacked := filepath.Join(aside, "unpacked")
	if err := command(ctx, aside, "dpkg", "-x", deb, unpacked); err != nil {
		return err
	}
	tree := filepath.Join(aside, "tree")
	if err := arrangeKernel(ctx, unpacked, tree); err != nil {
		return err
	}
	// Only a directory without vmlinuz can be in the way.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(tree, dir)
}

// arrangeKernel makes tree out of an unpacked kernel package.
func arrangeKernel(ctx context.Context, unpacked, tree string) error {
	if err := os.MkdirAll(filepath.Join(tree, "lib"), 0o755); err != nil {
		return err
	}
	image, err := onlyMatch(filepath.Join(unpacked, "boot", "vmlinuz-*"))
	if err != nil {
		return err
	}
	config, err := onlyMatch(filepath.Join(unpacked, "boot", "config-*"))
	if err != nil {
		return err
	}
	modules := filepath.Join(unpacked, "lib", "modules")
	if !exists(modules) {
		modules = filepath.Join(unpacked, "usr", "lib", "modules")
	}
	for from, to := range map[string]string{image: "vmlinuz", config: "config", modules: "lib/modules"} {
		if err := os.Rename(from, filepath.Join(tree, to)); err != nil {
			return err
		}
	}
	release, err := onlyMatch(filepath.Join(tree, "lib", "modules", "*"))
	if err != nil {
		return err
	}
	depmod, err := findProgram("depmod", "/sbin", "/usr/sbin")
	if err != nil {
		return err
	}
	return command(ctx, tree, depmod, "-b", tree, filepath.Base(release))
}

// onlyMatch returns the one path that matches pattern.
func onlyMatch(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%d files match %s in the kernel package, not one", len(found), filepath.Base(pattern))
	}
	return found[0], nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// command runs a program in dir; its output is part of the error when it fails.
func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, consoleTail(out, 10))
	}
	return nil
}
