package config

// ValidName tells whether s can name a VM or a template: at most 63 letters, digits, '_', '.' and '-', beginning with a
// letter or digit. Such a name is one component of a path, and no option of a command.
func ValidName(s string) bool {
	for i, c := range []byte(s) {
		switch {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case i > 0 && (c == '_' || c == '.' || c == '-'):
		default:
			return false
		}
	}
	return s != "" && len(s) <= 63
}
