/// The end of a run's name: five characters that spell no words, as Kubernetes makes them
/// (k8s.io/apimachinery, util/rand).
enum RunName {
    private static let letters = Array("bcdfghjklmnpqrstvwxz2456789")

    /// A new one.
    static func suffix(_ generator: inout some RandomNumberGenerator) -> String {
        String((0..<5).map { _ in letters[Int.random(in: 0..<letters.count, using: &generator)] })
    }
}
