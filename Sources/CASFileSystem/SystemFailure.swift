package import CASCore
import Glibc

/// Errors of system calls as errors for people.
package enum SystemFailure {
    /// The error of a call that just failed with this number, about this path.
    package static func error(
        _ number: Int32 = errno, _ what: String, path: String? = nil
    ) -> CASError {
        let reason = String(cString: strerror(number))
        return CASError(
            code(number), "\(what): \(reason)", hint: hint(number), path: path)
    }

    private static func code(_ number: Int32) -> CASError.Code {
        switch number {
        case ENOENT: .notFound
        case EEXIST: .alreadyExists
        case EACCES, EPERM, EROFS: .permissionDenied
        case ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM, EFBIG: .resourceExhausted
        case ELOOP, ENOTDIR, EISDIR, ENOTEMPTY, EXDEV, EMLINK, EBUSY, ETXTBSY: .failedPrecondition
        case EINVAL, ENAMETOOLONG: .invalidArgument
        case EIO: .dataLoss
        case EAGAIN, EINTR: .unavailable
        default: .internalError
        }
    }

    private static func hint(_ number: Int32) -> String? {
        switch number {
        case ENOSPC, EDQUOT: "free some space and run the same command again; nothing was lost"
        case EMFILE, ENFILE: "raise the limit of open files (ulimit -n)"
        case EROFS: "the file system is mounted read-only"
        default: nil
        }
    }

    /// Repeats a call that a signal interrupted; throws for any other failure.
    @discardableResult
    package static func check<Value: SignedInteger>(
        _ what: @autoclosure () -> String, path: @autoclosure () -> String? = nil,
        _ call: () -> Value
    ) throws -> Value {
        while true {
            let value = call()
            if value >= 0 { return value }
            guard errno == EINTR else { throw error(errno, what(), path: path()) }
        }
    }
}
