package recorder

import (
	"strings"
	"unicode"
)

// PlainText gives what strangers wrote without what would drive a terminal or turn its writing
// round: control characters, line breaks among them, and marks of direction (Unicode's Bidi_Control).
func PlainText(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, text)
}
