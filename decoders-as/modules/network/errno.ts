// Names of the errors that connect(2) gives, as errno.h has them; numbers are those of every Linux architecture this runs on.

/** @returns '' for a number that is not in the table. */
export function errnoName(error: u32): string {
  switch (error) {
    case 1:
      return 'EPERM';
    case 2:
      return 'ENOENT';
    case 9:
      return 'EBADF';
    case 11:
      return 'EAGAIN';
    case 12:
      return 'ENOMEM';
    case 13:
      return 'EACCES';
    case 14:
      return 'EFAULT';
    case 20:
      return 'ENOTDIR';
    case 22:
      return 'EINVAL';
    case 32:
      return 'EPIPE';
    case 36:
      return 'ENAMETOOLONG';
    case 40:
      return 'ELOOP';
    case 71:
      return 'EPROTO';
    case 91:
      return 'EPROTOTYPE';
    case 92:
      return 'ENOPROTOOPT';
    case 95:
      return 'EOPNOTSUPP';
    case 97:
      return 'EAFNOSUPPORT';
    case 98:
      return 'EADDRINUSE';
    case 99:
      return 'EADDRNOTAVAIL';
    case 100:
      return 'ENETDOWN';
    case 101:
      return 'ENETUNREACH';
    case 103:
      return 'ECONNABORTED';
    case 104:
      return 'ECONNRESET';
    case 105:
      return 'ENOBUFS';
    case 106:
      return 'EISCONN';
    case 107:
      return 'ENOTCONN';
    case 110:
      return 'ETIMEDOUT';
    case 111:
      return 'ECONNREFUSED';
    case 112:
      return 'EHOSTDOWN';
    case 113:
      return 'EHOSTUNREACH';
  }
  return '';
}
