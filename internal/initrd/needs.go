package initrd

import "clone/internal/initrd/bootconf"

// need is a driver the guest must or may have.
type need struct {
	module   string
	option   string // CONFIG_..., named when a required one is missing
	optional bool   // absent from some kernels, or for devices a VM may do without
}

// fsOptions are the options of the file systems a root disk may have.
var fsOptions = map[string]string{
	"ext4": "CONFIG_EXT4_FS", "xfs": "CONFIG_XFS_FS", "btrfs": "CONFIG_BTRFS_FS",
	"squashfs": "CONFIG_SQUASHFS", "erofs": "CONFIG_EROFS_FS",
}

// needs lists the drivers of a guest, the transport first.
func needs(root bootconf.RootMode, fstype string) []need {
	hasRoot := root != "" && root != bootconf.RootNone
	list := []need{
		{module: "virtio_mmio", option: "CONFIG_VIRTIO_MMIO"},
		// Without a root disk it is still wanted: a fork may be given a disk.
		{module: "virtio_blk", option: "CONFIG_VIRTIO_BLK", optional: !hasRoot},
		{module: "vmw_vsock_virtio_transport", option: "CONFIG_VIRTIO_VSOCKETS"}, // the agent's way out
		{module: "virtio_rng", option: "CONFIG_HW_RANDOM_VIRTIO", optional: true},
		{module: "virtio_net", option: "CONFIG_VIRTIO_NET", optional: true},
		{module: "vmgenid", option: "CONFIG_VMGENID", optional: true}, // Linux 5.18; the agent reseeds without it
		// The power button: Linux turns it into a key press, which the guest's init reads from an event device.
		{module: "button", option: "CONFIG_ACPI_BUTTON", optional: true},
		{module: "evdev", option: "CONFIG_INPUT_EVDEV", optional: true},
	}
	if hasRoot {
		list = append(list, need{module: fstype, option: fsOptions[fstype]})
	}
	// A disk or a share of a fork may be mounted where the template had none.
	list = append(list, need{module: "overlay", option: "CONFIG_OVERLAY_FS", optional: root != bootconf.RootOverlay})
	return list
}
