// Kubelet's own server before the CRI's own streaming server, both as a node has them, for one pod whose ports are those of 127.0.0.1.
//
//	portforward-server CERT KEY NAMESPACE/POD
//
// Prints the port that it listens on at 127.0.0.1, then serves until it is ended.
// Of the kubelet only the pod's name and the runtime's port-forward are there; a container runtime would dial in the pod's network namespace, this dials here.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/kubelet/pkg/cri/streaming"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	kubeletconfig "k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/server"
)

// What the CRI's streaming server asks of a runtime. It copies and ends as containerd does (internal/cri/server/sandbox_portforward_linux.go).
type runtime struct{ streaming.Runtime }

func (runtime) PortForward(ctx context.Context, sandbox string, port int32, stream io.ReadWriteCloser) error {
	var dialer net.Dialer
	inside, err := dialer.DialContext(ctx, "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return fmt.Errorf("failed to connect to localhost:%d inside namespace %q: %w", port, sandbox, err)
	}
	defer inside.Close()
	ended := make(chan error, 2)
	go func() {
		_, err := io.Copy(stream, inside)
		ended <- err
	}()
	go func() {
		_, err := io.Copy(inside, stream)
		ended <- err
	}()
	err = <-ended
	select {
	case <-ended:
	case <-time.After(time.Second):
	}
	return err
}

// What kubelet's server asks of a kubelet.
type host struct {
	server.HostInterface
	pod       types.NamespacedName
	streaming streaming.Server
}

func (h host) GetPodByName(namespace, name string) (*v1.Pod, bool) {
	if h.pod != (types.NamespacedName{Namespace: namespace, Name: name}) {
		return nil, false
	}
	pod := &v1.Pod{}
	pod.Namespace, pod.Name = namespace, name
	return pod, true
}

func (h host) GetPortForward(_ context.Context, name, namespace string, _ types.UID, options portforward.V4Options) (*url.URL, error) {
	response, err := h.streaming.GetPortForward(&runtimeapi.PortForwardRequest{PodSandboxId: namespace + "/" + name, Port: options.Ports})
	if err != nil {
		return nil, err
	}
	return url.Parse(response.Url)
}

func main() {
	if len(os.Args) != 4 {
		fail("usage: portforward-server CERT KEY NAMESPACE/POD")
	}
	certificate, err := tls.LoadX509KeyPair(os.Args[1], os.Args[2])
	if err != nil {
		fail(err)
	}
	namespace, name, _ := strings.Cut(os.Args[3], "/")
	inner, outer := listen(), listen()
	config := streaming.DefaultConfig
	config.BaseURL = &url.URL{Scheme: "http", Host: inner.Addr().String()}
	streams, err := streaming.NewServer(config, runtime{})
	if err != nil {
		fail(err)
	}
	go func() { fail(http.Serve(inner, streams)) }()
	kubelet := server.NewServer(
		host{pod: types.NamespacedName{Namespace: namespace, Name: name}, streaming: streams}, nil, nil, nil, nil,
		&kubeletconfig.KubeletConfiguration{EnableDebuggingHandlers: true},
	)
	fmt.Println(outer.Addr().(*net.TCPAddr).Port)
	secure := http.Server{Handler: &kubelet, TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	fail(secure.ServeTLS(outer, "", ""))
}

func listen() net.Listener {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	return listener
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}
