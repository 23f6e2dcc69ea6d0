package config

import (
	"errors"
	"path/filepath"
	"strings"
)

// ParseDisk reads IMAGE[,ro]. The path becomes absolute; the slot is chosen later.
func ParseDisk(s string) (Disk, error) {
	path, option, has := strings.Cut(s, ",")
	if has && option != "ro" {
		return Disk{}, errors.New("the only option is ,ro")
	}
	if path == "" {
		return Disk{}, errors.New("an image is missing")
	}
	path, err := filepath.Abs(path)
	return Disk{Path: path, ReadOnly: has}, err
}
