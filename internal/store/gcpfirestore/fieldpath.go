package gcpfirestore

// appendSegment appends one segment of a field path as Firestore reads it: anything but a plain identifier
// is put in backticks.
func appendSegment(b []byte, s string) []byte {
	if plain(s) {
		return append(b, s...)
	}
	b = append(b, '`')
	for i := range len(s) {
		if s[i] == '`' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '`')
}

func plain(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
