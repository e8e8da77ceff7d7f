//! What wgpu does not say of an adapter: its UUID and its memory. Vulkan says both.

/// Tells an adapter from others of its name.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// `4a5e8a3c-…`, as the tools of the driver's vendor print it; empty where the driver does not say.
    pub uuid: String,
    /// Bytes of the device's own memory.
    pub memory_bytes: Option<u64>,
}

/// The systems on which wgpu has Vulkan.
#[cfg(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub(super) fn identify(adapter: &wgpu::Adapter) -> Identity {
    use ash::vk;

    // SAFETY: the adapter is only asked for properties, and is not destroyed.
    let Some(hal) = (unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }) else { return Identity::default() };
    let device = hal.raw_physical_device();
    let instance = hal.shared_instance().raw_instance();
    // SAFETY: the physical device belongs to the instance, which lives as long as the adapter.
    let memory = unsafe { instance.get_physical_device_memory_properties(device) };
    let heaps = memory.memory_heaps_as_slice().iter();
    let own = heaps.filter(|heap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL)).map(|heap| heap.size);
    let version =
        hal.shared_instance().instance_api_version().min(hal.physical_device_capabilities().properties().api_version);
    let uuid = if version >= vk::API_VERSION_1_1 {
        let mut ids = vk::PhysicalDeviceIDProperties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut ids);
        // SAFETY: as above; instance and device know this function since version 1.1.
        unsafe { instance.get_physical_device_properties2(device, &mut properties) };
        show_uuid(&ids.device_uuid)
    } else {
        String::new()
    };
    Identity { uuid, memory_bytes: Some(own.sum()).filter(|bytes| *bytes > 0) }
}

/// Elsewhere there is no Vulkan.
#[cfg(not(any(windows, target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub(super) fn identify(_adapter: &wgpu::Adapter) -> Identity {
    Identity::default()
}

/// In groups of 8, 4, 4, 4 and 12 digits; empty if it is all zeros.
fn show_uuid(bytes: &[u8; 16]) -> String {
    if *bytes == [0; 16] {
        return String::new();
    }
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

/// Whether a text is this UUID: with or without lines between the digits, after `GPU-` or not, and no less than its first
/// eight digits.
pub(super) fn is_uuid(text: &str, uuid: &str) -> bool {
    let digits = |text: &str| text.to_lowercase().trim_start_matches("gpu-").replace('-', "");
    let (wanted, whole) = (digits(text), digits(uuid));
    wanted.len() >= 8 && whole.starts_with(&wanted)
}

/// Domain, bus, device and function of a place on the PCI bus: `0000:65:00.0`, `00000000:65:00.0` or `65:00.0`.
pub(super) fn place_on_bus(text: &str) -> Option<[u32; 4]> {
    let (rest, function) = text.trim().split_once('.')?;
    let parts: Vec<&str> = rest.split(':').collect();
    let (domain, bus, device) = match parts[..] {
        [bus, device] => ("0", bus, device),
        [domain, bus, device] => (domain, bus, device),
        _ => return None,
    };
    let number = |text: &str| u32::from_str_radix(text, 16).ok();
    Some([number(domain)?, number(bus)?, number(device)?, number(function)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_written_as_drivers_write_them() {
        let bytes: Vec<u8> = (0..16).map(|index| index * 17).collect();
        let uuid = show_uuid(&bytes.try_into().expect("there are sixteen"));
        assert_eq!(uuid, "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(show_uuid(&[0; 16]), "");
        for text in ["00112233-4455-6677-8899-AABBCCDDEEFF", "GPU-00112233-4455", "00112233", "001122334455"] {
            assert!(is_uuid(text, &uuid), "{text}");
        }
        for text in ["", "0011223", "GPU-", "00112234", "00112233-4455-6677-8899-aabbccddeeff0", "llvmpipe"] {
            assert!(!is_uuid(text, &uuid), "{text}");
        }
        assert!(!is_uuid("00000000", ""));
    }

    #[test]
    fn places_on_the_bus_are_numbers() {
        // As Vulkan, nvidia-smi and lspci print them.
        for text in ["0000:65:00.0", "00000000:65:00.0", "65:00.0"] {
            assert_eq!(place_on_bus(text), Some([0, 0x65, 0, 0]), "{text}");
        }
        assert_eq!(place_on_bus("0001:0a:1F.7"), Some([1, 10, 31, 7]));
        for text in ["", "65", "65.0", "llvmpipe (LLVM 19.1.7, 256 bits)", "1:2:3:4.0", "0x65:00.0"] {
            assert_eq!(place_on_bus(text), None, "{text}");
        }
    }
}
