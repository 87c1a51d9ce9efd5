// Package lineencoding is an encoding of the collector that writes an app's line as the JSON object which the log agent prints
// and stores. It reads line, resource and offset where they are: building a map of them first and writing that costs five times
// as much (docs/adr/0014-the-agent-writes-its-json-itself.md).
package lineencoding

import (
	"context"
	"strconv"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
)

// Config is what a configuration may say of the encoding.
type Config struct {
	// Node is the name of the node, which each line says.
	Node string `mapstructure:"node"`
}

// NewFactory makes the extension log_line_encoding.
func NewFactory() extension.Factory {
	return extension.NewFactory(
		component.MustNewType("log_line_encoding"),
		func() component.Config { return &Config{} },
		func(_ context.Context, _ extension.Settings, config component.Config) (extension.Extension, error) {
			return newEncoding(config.(*Config).Node), nil
		},
		component.StabilityLevelStable,
	)
}

type lineEncoding struct {
	component.StartFunc
	component.ShutdownFunc
	node []byte
}

var _ plog.Marshaler = (*lineEncoding)(nil)

func newEncoding(node string) *lineEncoding {
	return &lineEncoding{node: appendString(nil, node)}
}

// What a record has besides its text and the members that all records of a resource share, in bytes.
const recordBytes = 128

// MarshalLogs returns one JSON object a record, with a newline between two of them. It never fails: a receiver would try the
// same batch again for ever.
func (e *lineEncoding) MarshalLogs(logs plog.Logs) ([]byte, error) {
	var out []byte
	for _, resource := range logs.ResourceLogs().All() {
		of := e.partsOf(resource.Resource().Attributes())
		for _, scope := range resource.ScopeLogs().All() {
			out = grown(out, scope.LogRecords(), of.size())
			for _, record := range scope.LogRecords().All() {
				if len(out) > 0 {
					out = append(out, '\n')
				}
				out = of.appendRecord(out, record)
			}
		}
	}
	return out, nil
}

// grown makes room for the records at once, as far as no character needs an escape.
func grown(out []byte, records plog.LogRecordSlice, shared int) []byte {
	size := len(out)
	for _, record := range records.All() {
		size += shared + recordBytes + len(record.Body().Str())
	}
	if size <= cap(out) {
		return out
	}
	return append(make([]byte, 0, size), out...)
}

// parts are the pieces of an object between what differs from record to record. Members are in the order of their names.
type parts struct {
	beforeMessage, beforeOffset, beforeRequestID, afterTime []byte
}

func (e *lineEncoding) partsOf(resource pcommon.Map) parts {
	member := func(out []byte, key string) []byte {
		value, ok := resource.Get(key)
		if !ok {
			return append(out, "null"...)
		}
		return appendString(out, value.AsString())
	}
	var of parts
	of.beforeMessage = append(member([]byte(`{"file":`), "file"), `,"message":`...)
	namespace := member([]byte(`,"namespace":`), "k8s.namespace.name")
	of.beforeOffset = append(append(append(namespace, `,"node":`...), e.node...), `,"offset":`...)
	of.beforeRequestID = append(member([]byte(`,"pod":`), "k8s.pod.name"), `,"request_id":`...)
	of.afterTime = append(member([]byte(`,"uid":`), "k8s.pod.uid"), '}')
	return of
}

func (of parts) size() int {
	return len(of.beforeMessage) + len(of.beforeOffset) + len(of.beforeRequestID) + len(of.afterTime)
}

func (of parts) appendRecord(out []byte, record plog.LogRecord) []byte {
	time, id, message, ok := split(record.Body().AsString())
	out = append(out, of.beforeMessage...)
	out = appendString(out, message)
	out = append(out, of.beforeOffset...)
	if offset, found := record.Attributes().Get("log.file.record_offset"); found {
		out = strconv.AppendInt(out, offset.Int(), 10)
	} else {
		out = append(out, "null"...)
	}
	out = append(out, of.beforeRequestID...)
	if !ok {
		out = append(out, `null,"time":null`...)
		return append(out, of.afterTime...)
	}
	out = appendString(out, id)
	out = append(out, `,"time":`...)
	out = appendString(out, time)
	return append(out, of.afterTime...)
}
