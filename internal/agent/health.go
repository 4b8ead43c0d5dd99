package agent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// probeLimit is how long a probe may take, and how long the last ones are
// waited for, as flannel does.
const probeLimit = 3 * time.Second

// serveProbes answers /healthz and /readyz with flannel's texts. What a node
// that is not ready waits for stands in a second line.
func (a *agent) serveProbes(context.Context) error {
	if a.Health.Port() == 0 {
		return nil
	}
	l, err := net.Listen("tcp", a.Health.String())
	if err != nil {
		return fmt.Errorf("--healthz-ip, --healthz-port: %w", err)
	}
	server := &http.Server{Handler: a.status.handler(), ReadHeaderTimeout: probeLimit}
	go func() { _ = server.Serve(l) }() // returns when it is shut down
	a.atEnd(func() {
		ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
		defer cancel()
		_ = server.Shutdown(ctx)
	})
	a.Log.Info("answering /healthz and /readyz", zap.Stringer("at", l.Addr()))
	return nil
}

func (s *status) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "flanneld is running")
	})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		why := s.why()
		if why == "" {
			_, _ = fmt.Fprint(w, "flanneld is ready")
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintf(w, "flanneld is not ready yet\n%s\n", why)
	})
	return mux
}
