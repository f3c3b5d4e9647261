package api

import (
	"bytes"
	"context"
	"log"
	"log/slog"
)

// serverLog returns the logger of http.Server. Handshakes that fail are for whoever debugs: a port scan or a probe of a
// load balancer makes one each time.
func serverLog(l *slog.Logger) *log.Logger {
	return log.New(serverLines{l}, "", 0)
}

type serverLines struct{ log *slog.Logger }

// Write takes one line.
func (s serverLines) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.Contains(line, []byte("TLS handshake error")) {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, "http server", "message", string(bytes.TrimSpace(line)))
	return len(line), nil
}
