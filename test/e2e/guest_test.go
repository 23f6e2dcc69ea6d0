package e2e

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// This test program is static, so it runs in a guest too: as /guestprog, with an action, and as the /init of an initrd.
const (
	guestProgram = "guestprog"
	initProgram  = "init"
)

// isGuest tells whether this process is a program in a guest.
func isGuest(name string) bool {
	return name == guestProgram || name == initProgram && os.Getpid() == 1
}

// guestMain is such a program's main function.
func guestMain(name string, args []string) int {
	if name == initProgram {
		args = []string{"init"}
	}
	actions := map[string]func([]string) error{
		"init":      beInit,
		"reboot":    func([]string) error { return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) },
		"poweroff":  func([]string) error { return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF) },
		"listen":    listenVsock,
		"send":      sendVsock,
		"hold":      holdPattern,
		"check":     checkPattern,
		"eat":       eatMemory,
		"churn":     churnMemory,
		"rewrite":   rewriteFile,
		"checkfile": checkFile,
		"log":       printKernelLog,
	}
	action := actions[strings.Join(args[:min(1, len(args))], "")]
	if action == nil {
		fmt.Fprintln(os.Stderr, "guestprog: no such action:", args)
		return 2
	}
	if err := action(args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "guestprog:", err)
		return 1
	}
	return 0
}

// beInit greets on the console, repeats one line that is typed, and powers off.
func beInit(args []string) error {
	fmt.Println("guestprog is init")
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		fmt.Println(err)
	}
	fmt.Printf("typed: %s\n", strings.TrimSpace(line))
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// listenVsock answers each connection to a port with the length and the checksum of what came before its end.
func listenVsock(args []string) error {
	port, err := strconv.ParseUint(args[0], 10, 32)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: uint32(port)}); err != nil {
		return err
	}
	if err := unix.Listen(fd, 16); err != nil {
		return err
	}
	fmt.Println("listening")
	for {
		conn, peer, err := unix.Accept(fd)
		if err != nil {
			return err
		}
		if from, ok := peer.(*unix.SockaddrVM); !ok || from.CID != unix.VMADDR_CID_HOST {
			return fmt.Errorf("the peer is %+v, not the host", peer)
		}
		go func() {
			f := os.NewFile(uintptr(conn), "vsock")
			defer f.Close()
			fmt.Fprintln(f, digest(f))
		}()
	}
}

// sendVsock sends so many bytes to a port of the host, prints their digest, and then the host's answer.
func sendVsock(args []string) error {
	port, err := strconv.ParseUint(args[0], 10, 32)
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_HOST, Port: uint32(port)}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	f := os.NewFile(uintptr(fd), "vsock")
	mine := digest(io.TeeReader(noise(size), f))
	answer := make([]byte, 256)
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return err
	}
	n, err := f.Read(answer)
	fmt.Printf("%s\n%s", mine, answer[:n])
	return err
}

// noise is a stream of bytes that look random and are always the same.
func noise(size int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{}), size) }

// digest is the length and checksum of all that r has.
func digest(r io.Reader) string {
	sum := sha256.New()
	n, err := io.Copy(sum, r)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %x", n, sum.Sum(nil))
}
