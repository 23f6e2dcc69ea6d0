package boot

import (
	"bytes"
	"fmt"
	"strings"
)

// maxVersion is the longest kernel release (utsname has 65 bytes, NUL included).
const maxVersion = 64

// KernelVersion returns the release of a Linux kernel, such as 6.12.9+deb13-cloud-amd64: what "uname -r" says in the guest and
// what its modules' directory is called. It holds letters, digits and ".+-_~" only.
func KernelVersion(image *Image) (string, error) {
	var text []byte
	switch data := image.data; {
	case isBzImage(data):
		text = bzImageVersion(data)
	case bytes.HasPrefix(data, []byte(elfMagic)):
		text, _ = linuxBanner(data)
	default:
		return "", fmt.Errorf("%s is not a kernel: it is %s", image.Path, identify(data))
	}
	word, _, _ := bytes.Cut(text, []byte{' '})
	version := string(word)
	if version == "" || len(version) > maxVersion || strings.ContainsFunc(version, notInVersion) || version[0] == '.' {
		return "", fmt.Errorf("%s does not tell its version: it is truncated, or not a Linux kernel", image.Path)
	}
	return version, nil
}

func notInVersion(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".+-_~", r))
}

// linuxBanner finds the text after "Linux version " in an uncompressed kernel.
func linuxBanner(data []byte) (text []byte, ok bool) {
	const banner = "Linux version "
	for {
		at := bytes.Index(data, []byte(banner))
		if at < 0 {
			return nil, false
		}
		data = data[at+len(banner):]
		// The same words are in format strings, with a % after them.
		if len(data) > 0 && data[0] >= '0' && data[0] <= '9' {
			return data[:min(len(data), maxVersion+1)], true
		}
	}
}
