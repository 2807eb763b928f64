/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 */
/* Tells the sensor its own tgid in the initial pid namespace: run once by the loader through BPF_PROG_TEST_RUN, never attached. */
#include "base.h"
#include "task.h"

SEC("raw_tp") int sensor_identity(void *ctx)
{
	control.own_tgid = current_tgid();
	return 0;
}
