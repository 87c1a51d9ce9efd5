package lineencoding

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/encoding/jsonlogencodingextension"
	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/pdata/plog"
)

// theirs is the collector's own JSON encoding as collector.yaml configures it.
func theirs(t testing.TB) plog.Marshaler {
	config := &jsonlogencodingextension.Config{Mode: jsonlogencodingextension.JSONEncodingModeBody}
	factory := jsonlogencodingextension.NewFactory()
	settings := extension.Settings{ID: component.NewID(factory.Type())}
	made, err := factory.Create(context.Background(), settings, config)
	if err != nil {
		t.Fatal(err)
	}
	return made.(plog.Marshaler)
}

// The expressions of transform/line in collector.yaml.
var (
	isLine   = regexp.MustCompile(`^\d{4}-\d\d-\d\dT[\d:.]+Z \S+ `)
	patterns = regexp.MustCompile(`(?s)^(?P<time>\S+) (?P<request_id>\S+) (?P<message>.*)$`)
)

var resource = map[string]any{
	"k8s.pod.uid": "uid-1", "file": "uid-1/volumes/x/y/app.log", "k8s.namespace.name": "logging", "k8s.pod.name": "app-1",
}

// records are the lines as the receiver hands them on, each with its offset.
func records(attributes map[string]any, lines ...string) plog.Logs {
	logs := plog.NewLogs()
	of := logs.ResourceLogs().AppendEmpty()
	if err := of.Resource().Attributes().FromRaw(attributes); err != nil {
		panic(err)
	}
	scope := of.ScopeLogs().AppendEmpty()
	offset := 0
	for _, line := range lines {
		record := scope.LogRecords().AppendEmpty()
		record.Body().SetStr(line)
		record.Attributes().PutInt("log.file.record_offset", int64(offset))
		offset += len(line) + 1
	}
	return logs
}

// transformed are the same records with the body that transform/line gives them.
func transformed(logs plog.Logs, node string) plog.Logs {
	copied := plog.NewLogs()
	logs.CopyTo(copied)
	for _, of := range copied.ResourceLogs().All() {
		attribute := func(key string) any {
			value, ok := of.Resource().Attributes().Get(key)
			if !ok {
				return nil
			}
			return value.AsRaw()
		}
		for _, scope := range of.ScopeLogs().All() {
			for _, record := range scope.LogRecords().All() {
				line := record.Body().Str()
				offset, _ := record.Attributes().Get("log.file.record_offset")
				body := map[string]any{
					"time": nil, "node": node, "namespace": attribute("k8s.namespace.name"), "pod": attribute("k8s.pod.name"),
					"uid": attribute("k8s.pod.uid"), "request_id": nil, "message": line, "file": attribute("file"),
					"offset": offset.AsRaw(),
				}
				if isLine.MatchString(line) {
					found := patterns.FindStringSubmatch(line)
					for i, name := range patterns.SubexpNames() {
						if name != "" {
							body[name] = found[i]
						}
					}
				}
				if err := record.Body().SetEmptyMap().FromRaw(body); err != nil {
					panic(err)
				}
			}
		}
	}
	return copied
}

// expectEqual fails where the two encodings of a batch differ in a byte.
func expectEqual(t testing.TB, logs plog.Logs, node string) {
	t.Helper()
	got, err := newEncoding(node).MarshalLogs(logs)
	if err != nil {
		t.Fatal(err)
	}
	want, err := theirs(t).MarshalLogs(transformed(logs, node))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("the encodings differ:\n%.300q\n%.300q", got, want)
	}
}

const start = "2026-01-01T00:00:00.000Z id-1 "

func TestLinesOfTheAPI(t *testing.T) {
	for _, line := range []string{
		start + "message", start, start + " leading", start + "trailing \t", strings.Repeat(" ", 3), "",
		"no line of the API", start[:len(start)-1], start[:24], start[:25],
		"2026-01-01T00:00:00.000Z  two spaces", "2026-01-01T00:00:00.000Z id\tmessage", "2026-01-01T00:00:00.000Z\tid message",
		"2026-01-01T00:00:00.000Z id\vx message", "2026-01-01T00:00:00.000Z id\u00a0x message", "2026-01-01T00:00:00.000Z \xff\xfe message",
		"2026-01-01TZ id message", "2026-01-01T1Z id message", "2026-01-01T::..Z id message", "2026-01-01T00:00:00Z id a\nb\r\x00",
		"2026-01-01T00:00:00+01:00 id message", "x2026-01-01T00:00:00Z id message", "20260-1-01T00:00:00Z id message",
		"2026-01-01t00:00:00Z id message", "2026-01-01T00:00:00z id message", "2026-01-01T00:00:00ZZ id message",
		"٢٠٢٦-01-01T00:00:00Z id message", "2026-01-01T00:00:00.000Z 1 2 3", "2026-01-01T00:00:00.000Z id \"quotes\" \\\\ <b>&amp;",
		"1", "-1.5e300", "true", "null", `{"a":[1]}`, start + `{"a":"b"}`,
	} {
		expectEqual(t, records(resource, line), "node-1")
	}
}

func TestEveryCharacter(t *testing.T) {
	var lines []string
	for first := rune(0); first <= utf8.MaxRune; first += 512 {
		var text strings.Builder
		for r := first; r < first+512; r++ {
			text.WriteRune(r)
			text.WriteByte('a')
		}
		lines = append(lines, start+text.String())
	}
	expectEqual(t, records(resource, lines...), "node-1")
}

func TestWhatIsNoUTF8(t *testing.T) {
	edges := []byte{0, 'a', '"', 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xa8, 0xa9, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xe2, 0xec,
		0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff}
	for _, a := range edges {
		var lines []string
		for _, b := range edges {
			for _, c := range edges {
				for _, d := range []byte{'a', 0x80} {
					bytes := string([]byte{a, b, c, d})
					lines = append(lines, bytes, start+"tail "+bytes, start+bytes+" head", start+bytes[:3])
				}
			}
		}
		expectEqual(t, records(resource, lines...), "node-1")
	}
}

func TestEachLengthAroundAWord(t *testing.T) {
	for length := range 40 {
		for _, special := range []string{"", `"`, "<", "\x01", "\x7f", "é", "\u2028", "\xff", "😀"} {
			for at := range length + 1 {
				text := strings.Repeat("a", at) + special + strings.Repeat("b", length-at)
				expectEqual(t, records(resource, text, start+text), "node-1")
			}
		}
	}
}

func TestTheLongestLine(t *testing.T) {
	expectEqual(t, records(resource, start+strings.Repeat(`\\x00"<é`, 2*1024*1024), start+"after"), "node-1")
}

func TestWhatAResourceLacks(t *testing.T) {
	for _, left := range []string{"k8s.pod.uid", "file", "k8s.namespace.name", "k8s.pod.name"} {
		for _, value := range []any{nil, "", "<\u2028\xff>"} {
			attributes := map[string]any{}
			for key, other := range resource {
				attributes[key] = other
			}
			delete(attributes, left)
			if value != nil {
				attributes[left] = value
			}
			for _, node := range []string{"", `no"de`, "7"} {
				expectEqual(t, records(attributes, start+"message", "text"), node)
			}
		}
	}
}

func TestSeveralResourcesAndNone(t *testing.T) {
	logs := records(resource, start+"one", start+"two")
	records(map[string]any{}, "three").ResourceLogs().MoveAndAppendTo(logs.ResourceLogs())
	records(resource).ResourceLogs().MoveAndAppendTo(logs.ResourceLogs())
	records(resource, start+"four").ResourceLogs().MoveAndAppendTo(logs.ResourceLogs())
	expectEqual(t, logs, "node-1")
	expectEqual(t, plog.NewLogs(), "node-1")
	expectEqual(t, records(resource), "node-1")
}

func TestARecordWithoutItsOffset(t *testing.T) {
	logs := records(resource, start+"one")
	record := logs.ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0)
	record.Attributes().Clear()
	got, err := newEncoding("n").MarshalLogs(logs)
	if err != nil || !strings.Contains(string(got), `"offset":null`) {
		t.Errorf("%s, %v", got, err)
	}
}

func FuzzLine(f *testing.F) {
	f.Add(start+"message", "uid", "node")
	f.Add("\xff \u2028", "<>", `"`)
	f.Fuzz(func(t *testing.T, line, uid, node string) {
		attributes := map[string]any{"k8s.pod.uid": uid}
		expectEqual(t, records(attributes, line, start+line, line), node)
	})
}

func BenchmarkMarshal(b *testing.B) {
	lines := make([]string, 100)
	for i := range lines {
		lines[i] = fmt.Sprintf("2026-01-01T00:00:00.000Z 0-%d-0123456789ab %s%d", i, strings.Repeat("message ", 12), i)
	}
	logs := records(resource, lines...)
	b.Run("ours", func(b *testing.B) {
		encoding := newEncoding("node-1")
		b.ReportAllocs()
		for b.Loop() {
			_, _ = encoding.MarshalLogs(logs)
		}
	})
	b.Run("theirs, without the transform", func(b *testing.B) {
		encoding, maps := theirs(b), transformed(logs, "node-1")
		b.ReportAllocs()
		for b.Loop() {
			_, _ = encoding.MarshalLogs(maps)
		}
	})
}
