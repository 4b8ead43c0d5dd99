package daemon

import (
	"io"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger writes lines for people to w. troubled, if not nil, is set once a
// warning or an error was written.
func newLogger(w io.Writer, troubled *atomic.Bool) *zap.Logger {
	enc := zap.NewDevelopmentEncoderConfig()
	enc.EncodeLevel = zapcore.LowercaseLevelEncoder
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(enc), zapcore.Lock(zapcore.AddSync(w)), zapcore.InfoLevel)
	return zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		if troubled != nil && e.Level >= zapcore.WarnLevel {
			troubled.Store(true)
		}
		return nil
	}))
}
