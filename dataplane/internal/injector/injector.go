// Package injector puts whole tunnelled super-frames onto an underlay device,
// as no socket can: a private TAP interface takes a frame with all its outer
// headers and a description of both layers (virtio-net tunnel header, Linux
// 6.17), and a BPF program on the interface's ingress hands it to the underlay
// device and lets the kernel resolve the next hop. The device cuts it, or
// carries it whole.
package injector
