package testhost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// downloadPackage downloads the newest package whose name matches into dir and
// returns its path. Where apt's lists know none, or one that the mirror no longer
// has, they are updated first.
func downloadPackage(ctx context.Context, name *regexp.Regexp, dir string) (string, error) {
	deb, err := tryDownload(ctx, name, dir)
	if err == nil || ctx.Err() != nil {
		return deb, err
	}
	if err := updateLists(ctx, dir); err != nil {
		return "", err
	}
	return tryDownload(ctx, name, dir)
}

func tryDownload(ctx context.Context, name *regexp.Regexp, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-cache", "pkgnames", "linux-image-")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("apt-cache: %w", err)
	}
	pkg := newestPackage(strings.Fields(string(out)), name)
	if pkg == "" {
		return "", errors.New("apt offers none: the sources of Debian 12 with its security updates do")
	}
	// apt would drop root for the download, and then could not write to dir.
	if err := command(ctx, dir, "apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", pkg); err != nil {
		return "", err
	}
	return onlyMatch(filepath.Join(dir, "*.deb"))
}

// updateLists runs apt-get update, as root or with sudo.
func updateLists(ctx context.Context, dir string) error {
	args := []string{"apt-get", "update", "-qq"}
	if os.Geteuid() != 0 {
		args = append([]string{"sudo", "-n"}, args...)
	}
	if err := command(ctx, dir, args[0], args[1:]...); err != nil {
		return fmt.Errorf("%w; run apt-get update as root", err)
	}
	return nil
}

// newestPackage returns that of names which matches and has the highest version
// in its name; of a signed and an unsigned package the signed one. It returns ""
// if none matches.
func newestPackage(names []string, match *regexp.Regexp) string {
	newest := ""
	for _, name := range names {
		if match.MatchString(name) && (newest == "" || compareVersions(name, newest) > 0) {
			newest = name
		}
	}
	return newest
}

var number = regexp.MustCompile(`[0-9]+`)

// compareVersions compares the numbers in two package names one by one, as
// numbers; between equals the shorter name is greater.
func compareVersions(a, b string) int {
	byNumbers := slices.CompareFunc(number.FindAllString(a, -1), number.FindAllString(b, -1), func(x, y string) int {
		x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
	return cmp.Or(byNumbers, cmp.Compare(len(b), len(a)))
}
