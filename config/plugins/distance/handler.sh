#!/bin/sh
# The great-circle distance from Greenwich to ITEM_LATITUDE, ITEM_LONGITUDE (degrees, north and east
# positive), and when the sun stands highest there on average.
#
# Standard output is the result. Any exit code but 0 is a failure, and standard error says why.
# The variables are data: awk takes them from its environment as they are, and no shell reads them.
set -eu

# Pretend that this asks somebody far away.
sleep 0.05

exec awk 'BEGIN {
    number = "^-?[0-9]+([.][0-9]+)?$"
    latitude = ENVIRON["ITEM_LATITUDE"]; longitude = ENVIRON["ITEM_LONGITUDE"]
    if (latitude !~ number || longitude !~ number || latitude^2 > 8100 || longitude^2 > 32400) {
        print "no coordinates in degrees" > "/dev/stderr"
        exit 1
    }
    radian = atan2(0, -1) / 180
    north = sin((latitude - 51.4769) * radian / 2)
    east = sin(longitude * radian / 2)
    half = north^2 + cos(51.4769 * radian) * cos(latitude * radian) * east^2
    if (half > 1) half = 1
    km = 2 * 6371.0 * atan2(sqrt(half), sqrt(1 - half))
    noon = int(720 - longitude * 4 + 0.5)
    printf "{\"km\": %.0f, \"solar_noon_utc\": \"%02d:%02d\"}\n", km, int(noon / 60) % 24, noon % 60
}'
