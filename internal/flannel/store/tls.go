package store

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// TLS returns what a client of these endpoints needs, nil without https.
func (o Options) TLS() (*tls.Config, error) {
	if !o.Secure() {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pool, err := authorities(o.CAFile)
		if err != nil {
			return nil, err
		}
		cfg.RootCAs = pool
	}
	if o.CertFile == "" {
		return cfg, nil
	}
	if _, err := o.certificate(); err != nil {
		return nil, err
	}
	// The files are read for every connection, so that a certificate may be
	// renewed without a restart.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return o.certificate() }
	return cfg, nil
}

func authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--etcd-cafile: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--etcd-cafile: %s holds no certificate in PEM form", file)
	}
	return pool, nil
}

func (o Options) certificate() (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("--etcd-certfile %s with --etcd-keyfile %s: %w", o.CertFile, o.KeyFile, err)
	}
	return &cert, nil
}
