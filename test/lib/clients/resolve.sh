#!/bin/sh
# Asks for names through glibc, with the resolver in $RESOLV_CONF; runs in a mount namespace of its own. Prints the process id of each command before it runs.
mount --bind "$RESOLV_CONF" /etc/resolv.conf
for step in known missing silent; do
  sh -c "echo $step \$\$; exec getent ahosts $step.oisp.test >/dev/null"
done
RES_OPTIONS=use-vc sh -c 'echo stream $$; exec getent ahosts stream.oisp.test >/dev/null'
exit 0
