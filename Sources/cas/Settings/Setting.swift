/// Where the value of a setting came from; strongest first.
enum SettingOrigin: Hashable, Sendable {
    case flag(String)
    case reference
    case environment(String)
    case projectFile(String)
    case userFile(String)
    case builtIn

    /// For a person: `--server`, `CAS_SERVER`, `/home/me/x/cas.yaml`, `default`.
    var text: String {
        switch self {
        case .flag(let name): name
        case .reference: "the reference"
        case .environment(let name): name
        case .projectFile(let path), .userFile(let path): path
        case .builtIn: "default"
        }
    }
}

/// A value, and where it came from.
struct Setting<Value: Sendable>: Sendable {
    let value: Value
    let origin: SettingOrigin

    init(_ value: Value, _ origin: SettingOrigin) {
        self.value = value
        self.origin = origin
    }
}
