package lineencoding

import "strings"

// What \s means to a regular expression of Go.
const whitespace = "\t\n\f\r "

// split takes a line of the API apart: <time> <request id> <message>. It says false of any other text, which is a message as a
// whole. Its rule is that of ^\d{4}-\d\d-\d\dT[\d:.]+Z \S+ with a space behind it.
func split(line string) (time, id, message string, ok bool) {
	end := strings.IndexByte(line, ' ')
	if end < 0 || !isTime(line[:end]) {
		return "", "", line, false
	}
	rest := line[end+1:]
	width := strings.IndexAny(rest, whitespace)
	if width <= 0 || rest[width] != ' ' {
		return "", "", line, false
	}
	return line[:end], rest[:width], rest[width+1:], true
}

const date = "0000-00-00T"

func isTime(text string) bool {
	last := len(text) - 1
	if last <= len(date) || text[last] != 'Z' {
		return false
	}
	for i := range date {
		if date[i] == '0' && !isDigit(text[i]) || date[i] != '0' && text[i] != date[i] {
			return false
		}
	}
	for _, c := range []byte(text[len(date):last]) {
		if !isDigit(c) && c != ':' && c != '.' {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
