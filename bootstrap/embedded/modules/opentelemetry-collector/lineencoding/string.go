package lineencoding

import "unicode/utf8"

const hex = "0123456789abcdef"

// plain are the ASCII characters that stand in a string as they are.
var plain = func() (table [utf8.RuneSelf]bool) {
	for c := range table {
		table[c] = c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return table
}()

// appendString appends a text as a JSON string, with the escapes that the collector's JSON encoding writes: those that make it
// safe in HTML and JavaScript too, and \ufffd for each byte that is no UTF-8.
func appendString(out []byte, text string) []byte {
	out = append(out, '"')
	begin := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if !plain[c] {
				out = appendEscape(append(out, text[begin:i]...), c)
				begin = i + 1
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if escape := escapeOf(r, size); escape != "" {
			out = append(append(out, text[begin:i]...), escape...)
			begin = i + size
		}
		i += size
	}
	return append(append(out, text[begin:]...), '"')
}

// escapeOf a character beyond ASCII; empty where it stands as it is. A byte that is no UTF-8 is an error of size 1.
func escapeOf(r rune, size int) string {
	switch {
	case r == utf8.RuneError && size == 1:
		return `\ufffd`
	case r == '\u2028':
		return `\u2028`
	case r == '\u2029':
		return `\u2029`
	}
	return ""
}

func appendEscape(out []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(out, '\\', c)
	case '\n':
		return append(out, `\n`...)
	case '\r':
		return append(out, `\r`...)
	case '\t':
		return append(out, `\t`...)
	}
	return append(out, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}
