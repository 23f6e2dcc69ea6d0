package rootfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Create builds the image that o describes. It calls progress from one
// goroutine at a time, and never after it returned. On any error, a cancelled
// ctx included, the target is as it was and nothing is left beside it.
func Create(ctx context.Context, o Options, progress func(Event)) (err error) {
	if progress == nil {
		progress = func(Event) {}
	}
	if err := o.check(); err != nil {
		return err
	}
	output, err := resolveOutput(o)
	if err != nil {
		return err
	}
	if err := findTools(o); err != nil {
		return err
	}
	s, err := newScratch(output)
	if err != nil {
		return err
	}
	defer func() {
		if rerr := s.remove(); rerr != nil && err == nil {
			err = fmt.Errorf("remove the scratch directory: %w", rerr)
		}
	}()

	dir := o.FromDir
	if o.Distro != "" {
		dir = s.path("tree")
		if err := bootstrapDebian(ctx, o, dir, progress); err != nil {
			return err
		}
	}
	progress(Event{StepMeasure, dir})
	tree, err := measure(ctx, dir)
	if err != nil {
		return err
	}
	size := imageSize(tree, o.SizeBytes)
	if tree.bytes > size {
		return fmt.Errorf("the content takes %d MiB and the image has only %d: give a larger --size", tree.bytes>>20, size>>20)
	}
	progress(Event{StepWrite, fmt.Sprintf("%d files, %d MiB, into %d MiB of ext4", tree.inodes, tree.bytes>>20, size>>20)})
	image := s.path("image")
	if err := writeExt4(ctx, image, dir, tree, size, func(l string) { progress(Event{StepWrite, l}) }); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := publish(image, output, o.Replace); err != nil {
		return err
	}
	progress(Event{StepDone, output})
	return nil
}

// resolveOutput returns the absolute path of the target, links in its
// directory resolved, after the checks that cost nothing.
func resolveOutput(o Options) (string, error) {
	dir, err := filepath.Abs(filepath.Dir(o.Output))
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", fmt.Errorf("the output's directory: %w", err)
	}
	output := filepath.Join(dir, filepath.Base(o.Output))
	info, err := os.Lstat(output)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", output)
	case err == nil && !o.Replace:
		return "", taken(output)
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return "", err
	}
	if o.FromDir == "" {
		return output, nil
	}
	from, err := filepath.Abs(o.FromDir)
	if err == nil {
		from, err = filepath.EvalSymlinks(from)
	}
	if err != nil {
		return "", fmt.Errorf("--from-dir: %w", err)
	}
	if info, err := os.Stat(from); err != nil {
		return "", err
	} else if !info.IsDir() {
		return "", fmt.Errorf("--from-dir: %s is not a directory", from)
	}
	if inside(output, from) {
		return "", fmt.Errorf("the image %s would lie inside the directory it is made of: choose another place", output)
	}
	return output, nil
}

// requirement is a program or file that a build needs, and the Debian package
// that brings it.
type requirement struct{ tool, pkg string }

// findTools fails early when something that the build needs is missing.
func findTools(o Options) error {
	need := []requirement{{"mke2fs", "e2fsprogs"}}
	if o.Distro != "" {
		if os.Geteuid() != 0 {
			return errors.New("building a Debian root file system chroots and makes device nodes: run as root (sudo)")
		}
		need = append(need, requirement{"debootstrap", "debootstrap"}, requirement{debianKeyring, "debian-archive-keyring"})
	}
	return missingTools(need)
}

// missingTools names all that is missing, and one command that installs it.
func missingTools(need []requirement) error {
	var tools, pkgs []string
	for _, n := range need {
		if !haveTool(n.tool) {
			tools, pkgs = append(tools, n.tool), append(pkgs, n.pkg)
		}
	}
	if len(tools) > 0 {
		return fmt.Errorf("%s not found: apt-get install %s", strings.Join(tools, ", "), strings.Join(pkgs, " "))
	}
	return nil
}

// haveTool looks for a file by its path, or for a program in toolPath.
func haveTool(tool string) bool {
	if filepath.IsAbs(tool) {
		_, err := os.Stat(tool)
		return err == nil
	}
	for _, dir := range filepath.SplitList(toolPath()) {
		if info, err := os.Stat(filepath.Join(dir, tool)); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return true
		}
	}
	return false
}
