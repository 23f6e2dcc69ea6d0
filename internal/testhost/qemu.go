package testhost

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"clone/internal/testhost/inside"
)

// The file descriptors that the children inherit: exec.Cmd numbers its
// ExtraFiles from 3 on.
const (
	portFD       = 3 // QEMU's end of the port, a connected socket
	fsListenerFD = 3 // virtiofsd's listening socket
)

// A machine is what qemuArgs needs to know of one emulated host.
type machine struct {
	memoryMiB int
	image     string   // kernel
	runDir    string   // holds the init link, the file system's socket and the console log
	extra     []string // appended as they are
}

// File names in a run directory.
const (
	fsSocketName = "fs.sock"
	consoleName  = "console.log"
)

// qemuArgs is the command line of one emulated host.
func qemuArgs(m machine) []string {
	args := []string{
		"-accel", "tcg,tb-size=1024",
		// "max" has SVM. The split irqchip is what interrupt remapping needs. No CMPXCHG16B: QEMU 7.2 computes its flags from
		// what the instructions before it left, so that a register can get into EFLAGS, VM flag and all. In a guest of this
		// host that ends with the next interrupt in a double fault.
		"-cpu", "max,-xsave,-la57,-cx16", "-smp", "1", "-m", fmt.Sprint(m.memoryMiB),
		"-machine", "q35,kernel-irqchip=split,memory-backend=mem",
		// Shared memory, for vhost-user.
		"-object", fmt.Sprintf("memory-backend-memfd,id=mem,size=%dM,share=on", m.memoryMiB),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-serial", "file:" + filepath.Join(m.runDir, consoleName),
		"-device", "intel-iommu,intremap=on,caching-mode=on",
		"-chardev", "socket,id=fs,path=" + optionValue(filepath.Join(m.runDir, fsSocketName)),
		"-device", "vhost-user-fs-pci,chardev=fs,tag=rootfs",
		"-device", "virtio-serial-pci",
		"-chardev", fmt.Sprintf("socket,id=port,fd=%d", portFD),
		"-device", fmt.Sprintf("virtserialport,chardev=port,name=%s,nr=%d", inside.PortName, inside.PortNumber),
		"-kernel", m.image,
		"-append", kernelCommandLine(m.runDir),
	}
	return append(args, m.extra...)
}

// kernelParameters of the emulated host. A panic ends it: with -no-reboot, a
// reboot ends QEMU. The second line makes a slow processor's boot and its VMs
// faster; what it leaves out (struct_ops of BPF, the self-test of jitter entropy,
// certificates to check modules with) nobody needs here. The kernel's check that its
// timer ticks can miss the ticks where QEMU gets too little of the processor, and then
// it panics.
const kernelParameters = "console=ttyS0 quiet panic=-1 rootfstype=virtiofs root=rootfs rw intel_iommu=on iommu=pt " +
	"mitigations=off tsc=reliable no_timer_check random.trust_cpu=on rcupdate.rcu_expedited=1 " +
	"initcall_blacklist=bpf_tcp_ca_kfunc_init,bpf_dummy_struct_ops_init,jent_mod_init,load_system_certificate_list"

// kernelCommandLine starts the init link of runDir, which must be free of white
// space.
func kernelCommandLine(runDir string) string {
	return kernelParameters + " init=" + filepath.Join(runDir, inside.InitName)
}

// optionValue escapes s as a value in one of QEMU's comma-separated options.
func optionValue(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// virtiofsdArgs serves this machine's root.
func virtiofsdArgs() []string {
	return []string{fmt.Sprintf("--fd=%d", fsListenerFD), "-o", "source=/", "-o", "cache=always", "-o", "xattr", "-o", "sandbox=chroot"}
}

// installHint ends every error about a missing program.
const installHint = "install what the test host needs with tools/install-deps"

// findProgram looks name up in PATH and then in dirs.
func findProgram(name string, dirs ...string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is missing: %s", name, installHint)
}
